"""What README says, held to tests: each row of its table of differences, and the places that it names.

Of each row it says here which tests show what obstore does, and which fail if the column of s3ext is false. A
row without them fails, as does the name of a test that is gone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import s3ext
from tests.nodes import missing
from tests.python.oracle import without_environment
from tests.server import ACCESS_KEY, SECRET_KEY, VerifyingServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

DIFFER = "python/test_differences.py::test_"
OPERATIONS = "python/test_operations.py::test_"
OPTIONS = "python/test_options.py::test_"
STORE = "python/test_store_config.py::test_"
PATHS = "python/test_paths.py::test_"
PUT = "python/test_put.py::test_"
LIST = "python/test_list.py::test_"
KEYS = "python/test_credentials.py::test_"
CHAIN = "credentials/test_"
URL = "python/test_url.py::test_"
OPEN = "python/test_open.py::test_"
HTSLIB = "htslib/test_samtools.py::test_"
BODIES = "faults/test_bodies.py::test_"
RETRIES = "faults/test_retries.py::test_"
REGIONS = "faults/test_regions.py::test_"
TARGETS = "endpoints/test_targets.py::test_"
BOTOCORE = "endpoints/test_against_botocore.py::test_"
ANSWERS = "faults/test_answers.py::test_"
DEADLINES = "faults/test_deadlines.py::test_"
FORK = "lifecycle/test_fork.py::test_"
SIGNALS = "lifecycle/test_signals.py::test_"

# Subject: (tests of obstore's column, tests of ours).
ROWS = {
    "stores": (
        [f"{DIFFER}obstore_knows_other_stores"],
        [
            f"{URL}a_store_of_another_kind_is_not_supported",
            "python/test_build.py::test_another_system_than_linux_is_refused_in_one_sentence",
        ],
    ),
    "keys or a profile in a URL, `s3+http://`, `s3+https://`": (
        [f"{URL}obstore_ignores_the_user_part", f"{URL}obstore_does_not_know_our_schemes"],
        [
            f"{URL}keys_a_profile_and_a_scheme_come_from_the_url",
            f"{URL}a_wrong_url_is_named_without_what_may_be_a_secret",
        ],
    ),
    "`?versionId=` in a URL": (
        [f"{URL}obstore_ignores_a_version"],
        [
            f"{URL}a_version_is_of_an_object_and_of_no_store",
            f"{OPEN}a_version_of_the_url_is_read_and_not_written",
        ],
    ),
    "`from_url` of dual-stack, Chinese, dotted and custom hosts": (
        [f"{URL}obstore_refuses_what_is_beyond_the_contract"],
        [f"{URL}a_store_url_gives_configuration_and_prefix"],
    ),
    "destination": (
        [f"{DIFFER}obstore_reads_large_objects_in_one_request"],
        [
            f"{OPERATIONS}get_reads_into_the_callers_memory",
            f"{OPERATIONS}get_range_into_an_array_of_any_type",
            f"{OPERATIONS}ranges_are_read_into_one_buffer_or_one_for_each",
        ],
    ),
    "large `get`, `get_range`": (
        [f"{DIFFER}obstore_reads_large_objects_in_one_request"],
        [
            f"{OPERATIONS}a_large_range_is_read_in_parts",
            f"{OPERATIONS}objects_around_the_part_size_are_read_whole",
            f"{BODIES}an_object_replaced_between_parts_is_an_error_not_a_mixture",
        ],
    ),
    "`get_ranges` of an object that changes meanwhile": (
        [f"{DIFFER}obstore_mixes_the_bytes_of_an_object_that_changes"],
        [f"{BODIES}an_object_replaced_between_parts_is_an_error_not_a_mixture"],
    ),
    "a whole object (200) in answer to a range": (
        [f"{DIFFER}obstore_refuses_a_whole_answer_to_a_range"],
        [
            f"{BODIES}the_wanted_bytes_are_cut_out_of_a_whole_answer",
            f"{BODIES}a_server_without_ranges_is_read_once_and_remembered",
            f"{BODIES}a_whole_answer_of_unknown_length_is_refused",
        ],
    ),
    "a body without ETag that breaks off": (
        [f"{DIFFER}obstore_gives_a_broken_body_without_an_etag_up"],
        [f"{BODIES}without_an_etag_a_broken_body_starts_again"],
    ),
    "total time-out of a request": (
        [f"{DIFFER}obstore_ends_a_whole_request_after_its_default"],
        [f"{OPTIONS}settings_have_their_defaults", f"{DEADLINES}drops_are_progress"],
    ),
    "Retry-After": (
        [f"{DIFFER}obstore_ignores_retry_after"],
        [
            f"{RETRIES}a_retry_after_in_seconds_is_obeyed",
            f"{RETRIES}a_retry_after_as_a_date_is_obeyed",
            "pure/test_http.py::test_a_wait_that_is_accepted_is_at_most_a_minute",
        ],
    ),
    "waits between retries": (
        [f"{DIFFER}obstore_waits_at_least_the_first_back_off"],
        [
            "pure/test_retry.py::test_the_jitter_is_spread_over_the_whole_interval",
            f"{RETRIES}a_throttle_waits_from_a_second_unless_the_user_says_otherwise",
            f"{RETRIES}a_server_in_trouble_is_not_drowned",
            f"{RETRIES}the_budget_of_one_host_is_not_that_of_another",
        ],
    ),
    "`retry_timeout`": (
        [f"{DIFFER}obstore_counts_the_time_for_retries_from_the_first_attempt"],
        [
            f"{DIFFER}the_time_for_retries_counts_from_the_first_failure",
            f"{BODIES}a_transfer_that_makes_progress_is_not_given_up",
        ],
    ),
    "back-off with a `base` of 1 or less": (
        [f"{OPTIONS}a_base_that_makes_no_back_off_is_refused_where_obstore_panics_later"],
        [f"{OPTIONS}a_base_that_makes_no_back_off_is_refused_where_obstore_panics_later"],
    ),
    "501": (
        [f"{DIFFER}obstore_retries_501"],
        [f"{RETRIES}what_no_repetition_can_mend_is_not_repeated"],
    ),
    "a conditional `put` whose answer is lost": (
        [f"{DIFFER}obstore_sends_a_conditional_put_again_whose_answer_was_lost"],
        [f"{RETRIES}a_conditional_put_whose_answer_is_lost_is_not_sent_twice"],
    ),
    '409 ConditionalRequestConflict at `mode="create"`': (
        [f"{DIFFER}obstore_takes_a_conflict_of_creators_for_an_object_that_exists"],
        [f"{RETRIES}a_conditional_put_that_was_refused_is_sent_again"],
    ),
    "an error inside a 200 answer": (
        [f"{DIFFER}obstore_finds_two_codes_inside_a_copy_s_200"],
        [
            f"{ANSWERS}an_error_inside_a_success_is_retried",
            f"{ANSWERS}a_final_error_inside_a_success_is_raised",
        ],
    ),
    "redirects": (
        [
            f"{DIFFER}obstore_follows_redirects_with_the_session_token",
            f"{DIFFER}obstore_signs_no_redirect_anew",
            f"{DIFFER}obstore_does_not_correct_the_region",
        ],
        [
            f"{REGIONS}a_redirect_is_never_followed",
            f"{REGIONS}a_wrong_region_is_corrected_once_and_remembered",
            f"{REGIONS}all_stores_of_a_bucket_know_what_one_has_learnt",
            f"{REGIONS}a_custom_endpoint_names_the_region_and_is_not_corrected",
        ],
    ),
    "region, endpoint, addressing in AWS's files and s3cfg": (
        [f"{DIFFER}obstore_reads_no_files"],
        [
            f"{TARGETS}the_strongest_source_of_a_region_counts",
            f"{TARGETS}the_strongest_endpoint_counts",
            f"{TARGETS}files_are_left_alone_where_code_names_region_and_endpoint",
        ],
    ),
    "access points by ARN": (
        [f"{DIFFER}obstore_knows_no_arns"],
        [
            f"{BOTOCORE}access_points",
            f"{BOTOCORE}a_multi_region_access_point_is_refused_because_it_needs_sigv4a",
        ],
    ),
    "clock skew": (
        [f"{DIFFER}obstore_does_not_learn_the_clock"],
        [f"{REGIONS}a_clock_that_is_wrong_is_learnt_once"],
    ),
    "fork after use": (
        [f"{DIFFER}obstore_does_not_work_in_a_child_of_a_process_that_used_it"],
        [f"{FORK}a_child_works_as_its_parent_does", f"{FORK}fork_amid_64_transfers"],
    ),
    "Ctrl-C in a sync call": (
        [f"{DIFFER}obstore_sees_ctrl_c_when_the_request_is_over"],
        [f"{SIGNALS}ctrl_c_while_the_answer_is_awaited", f"{SIGNALS}ctrl_c_in_the_body"],
    ),
    "async `credential_provider`": (
        [f"{DIFFER}obstore_needs_a_loop_for_an_async_provider"],
        [f"{KEYS}a_provider_works_in_sync_and_async_calls"],
    ),
    "keys near their expiry": (
        [f"{DIFFER}obstore_waits_for_new_keys_while_the_old_ones_are_good"],
        [
            f"{DIFFER}good_keys_are_used_while_new_ones_are_fetched",
            f"{DIFFER}keys_that_have_expired_are_waited_for",
        ],
    ),
    "keys whose successors end as soon": (
        [f"{DIFFER}obstore_renews_keys_that_do_not_last_ten_times_a_second"],
        [
            "python/test_providers.py::test_keys_that_end_within_the_margin_cause_no_storm",
            "core/test_core.py::test_the_program_finds_nothing_wrong",
        ],
    ),
    "`auth.earthdata` without `session=`": (
        ["python/test_auth.py::test_the_async_provider_of_obstore_belongs_to_one_loop"],
        ["python/test_auth.py::test_a_login_gives_keys_that_a_store_uses"],
    ),
    "exceptions": (
        [f"{DIFFER}obstore_s_exceptions_have_no_builtin_bases"],
        [
            "python/test_exceptions.py::test_bases_are_those_of_the_tree",
            f"{OPERATIONS}a_missing_object_is_a_file_not_found_error_that_says_what_was_missing",
            f"{OPERATIONS}the_servers_code_and_request_id_are_in_the_error",
        ],
    ),
    "a bad path": (
        [f"{DIFFER}obstore_refuses_bad_paths_by_builtin_errors"],
        [f"{PATHS}a_bad_path_is_refused_everywhere"],
    ),
    "errors of a listing": (
        [f"{DIFFER}obstore_has_one_class_for_errors_of_listings"],
        [
            f"{LIST}a_missing_bucket_is_an_error_of_its_class",
            f"{LIST}a_failing_page_is_an_error_after_what_came_before",
        ],
    ),
    "listings of keys that are no paths, such as `a//b`": (
        [f"{DIFFER}obstore_cannot_list_a_bucket_with_an_odd_key"],
        [f"{DIFFER}a_bucket_with_an_odd_key_is_listed", f"{LIST}odd_keys_are_listed_as_they_are"],
    ),
    "an empty path in a store without prefix": (
        [f"{DIFFER}obstore_takes_an_empty_path_and_long_keys_to_the_server"],
        [
            f"{OPERATIONS}paths_are_checked_before_any_request",
            f"{PATHS}an_empty_key_is_refused_but_under_a_prefix_it_is_the_prefix",
        ],
    ),
    "keys over 1,024 bytes": (
        [f"{DIFFER}obstore_takes_an_empty_path_and_long_keys_to_the_server"],
        [
            f"{OPERATIONS}paths_are_checked_before_any_request",
            f"{PATHS}a_key_has_at_most_1024_bytes_of_utf8_with_the_prefix",
        ],
    ),
    '`delete("a")`': (
        [f"{DIFFER}obstore_deletes_one_object_in_bulk"],
        [f"{DIFFER}one_object_is_deleted_by_one_delete"],
    ),
    "`rename(a, a)`": (
        [f"{DIFFER}obstore_deletes_what_it_renames_onto_itself"],
        [f"{OPERATIONS}renaming_onto_itself_loses_nothing"],
    ),
    '`starts` and `ends` of different lengths; `{"suffix": 0}`': (
        [f"{DIFFER}obstore_ignores_ranges_without_an_end_and_sends_an_empty_suffix"],
        [
            f"{OPERATIONS}no_ranges_are_no_request",
            f"{OPERATIONS}a_range_that_makes_no_sense_is_refused",
        ],
    ),
    "`put` of strided or wider buffers": (
        [f"{DIFFER}obstore_takes_buffers_other_than_plain_bytes_for_iterators"],
        [f"{PUT}anything_with_the_buffer_protocol_is_put_as_its_bytes"],
    ),
    "`if_modified_since`": (
        [f"{DIFFER}obstore_takes_one_time_zone_only"],
        [f"{OPERATIONS}conditions_decide"],
    ),
    "durations and counts in `client_options`": (
        [f"{DIFFER}obstore_takes_no_numbers_for_options"],
        [
            f"{OPTIONS}timedeltas_and_numbers_of_seconds_become_text",
            f"{OPTIONS}whole_numbers_may_be_ints_or_text",
        ],
    ),
    "a client option given twice": (
        [f"{DIFFER}obstore_takes_the_last_of_two_client_options"],
        [f"{OPTIONS}a_client_option_given_twice_is_refused_too_where_obstore_takes_the_last"],
    ),
    "an endpoint in code": (
        [f"{OPTIONS}an_endpoint_in_code_is_not_redirected_by_the_environment_unlike_obstores"],
        [f"{OPTIONS}an_endpoint_in_code_is_not_redirected_by_the_environment_unlike_obstores"],
    ),
    "`http://` without `allow_http`": (
        [f"{DIFFER}obstore_says_builder_error_where_http_is_not_allowed"],
        [f"{OPTIONS}http_needs_allow_http_at_the_first_request_not_before"],
    ),
    "empty environment variables": (
        [f"{DIFFER}obstore_takes_empty_variables_for_values"],
        [f"{OPTIONS}an_empty_variable_counts_as_unset"],
    ),
    "the bucket from the environment": (
        [f"{STORE}a_bucket_from_the_environment_is_shown_by_repr_where_obstore_panics"],
        [f"{STORE}a_bucket_from_the_environment_is_shown_by_repr_where_obstore_panics"],
    ),
    "client options as keywords": (
        [f"{DIFFER}obstore_s_config_panics_over_client_options_and_shows_secrets"],
        [f"{OPTIONS}client_options_given_as_keywords_are_shown_in_client_options"],
    ),
    "`.config` printed": (
        [f"{DIFFER}obstore_s_config_panics_over_client_options_and_shows_secrets"],
        [f"{STORE}no_repr_shows_a_secret", f"{OPTIONS}no_secret_is_in_a_repr_but_each_can_be_read"],
    ),
    "`default_headers` in listings": (
        [f"{DIFFER}obstore_does_not_sign_default_headers_of_listings"],
        [f"{DIFFER}default_headers_are_signed_with_every_request"],
    ),
    "module functions `*_async`": (
        [f"{DIFFER}obstore_s_functions_return_futures"],
        [f"{DIFFER}our_functions_return_coroutines_where_no_loop_runs"],
    ),
    "`sign`, `open_reader`, `open_writer`": (
        [f"{DIFFER}obstore_has_functions_where_we_have_methods_too"],
        [f"{DIFFER}obstore_has_functions_where_we_have_methods_too"],
    ),
    '`copy_if_not_exists="multipart"`': (
        [f"{DIFFER}obstore_copies_bytes_alone_where_it_must_not_overwrite"],
        ["python/test_copies.py::test_a_conditional_copy_copies_where_nothing_is"],
    ),
    "`dynamo:` in `conditional_put` and `copy_if_not_exists`": (
        [f"{DIFFER}obstore_takes_no_locks"],
        ["python/test_locks.py::test_a_create_takes_a_lock_as_object_store_does"],
    ),
    "S3 Express": (
        [f"{DIFFER}obstore_signs_sessions_for_s3"],
        ["python/test_express.py::test_all_operations_go_in_one_session"],
    ),
    "copies above 5 GiB": (
        [f"{DIFFER}obstore_copies_in_one_request_whatever_the_size"],
        ["python/test_copies.py::test_what_is_too_large_for_one_request_is_copied_in_parts"],
    ),
    "`delete`": (
        [f"{DIFFER}obstore_deletes_no_iterables"],
        ["python/test_delete.py::test_any_iterable_is_deleted"],
    ),
    "spaces in tags": (
        [f"{DIFFER}obstore_writes_spaces_in_tags_as_plus"],
        [f"{PUT}tags_are_form_encoded"],
    ),
    "readers' `read(n)`": (
        [f"{DIFFER}obstore_s_readers_give_less_than_was_asked_for"],
        ["python/test_files.py::test_a_read_gives_as_many_bytes_as_were_asked_for"],
    ),
    "readers of an object that changes": (
        [f"{DIFFER}obstore_s_readers_mix_the_bytes_of_an_object_that_changes"],
        ["python/test_files.py::test_the_metadata_is_asked_for_once_and_every_read_is_of_that_version"],
    ),
    "`put` of a small iterator": (
        [f"{DIFFER}obstore_puts_every_iterator_in_parts"],
        [f"{PUT}files_and_iterators_are_put"],
    ),
    "`repr` of large `Bytes`": (
        [f"{DIFFER}obstore_shows_all_of_its_bytes"],
        ["python/test_bytes.py::test_the_repr_of_much_is_short_and_tells_how_much"],
    ),
    "profiles, SSO, `credential_process`, s3cfg, awssecret": (
        [f"{DIFFER}obstore_knows_no_files_of_credentials"],
        [
            f"{CHAIN}chain.py::test_the_first_source_that_is_there_answers",
            f"{CHAIN}sources.py::test_a_login_gives_keys",
            f"{CHAIN}sources.py::test_a_program_gives_keys",
        ],
    ),
    "keys half in code, half in the environment": (
        [f"{OPTIONS}obstore_combines_keys_of_code_and_environment"],
        [f"{OPTIONS}keys_of_code_and_environment_are_never_mixed"],
    ),
    "a container's token file that ends its line": (
        [f"{DIFFER}obstore_panics_at_a_container_s_token_that_ends_its_line"],
        [f"{CHAIN}sources.py::test_a_container_s_token_with_its_line_ends"],
    ),
    "`http://` for `endpoint_url_sts`": (
        [f"{DIFFER}obstore_takes_no_http_for_sts"],
        [
            f"{CHAIN}sources.py::test_web_identity_by_options_and_variables",
            f"{CHAIN}sources.py::test_http_for_sts_must_be_allowed",
        ],
    ),
}

# Subject of the table of Files: tests of the column of s3ext.
FILES = {
    "an `@` in the URL": [f"{HTSLIB}keys_of_a_url_reach_the_endpoint_of_the_environment_unlike_htslibs"],
    "no ID, no secret, two `@`, a stray `%`": [f"{URL}a_wrong_url_is_named_without_what_may_be_a_secret"],
    "`?` and parameters": [
        f"{OPEN}a_version_of_the_url_is_read_and_not_written",
        f"{URL}a_wrong_url_is_named_without_what_may_be_a_secret",
    ],
    "`URL##idx##URL`": [f"{URL}a_wrong_url_is_named_without_what_may_be_a_secret"],
    "a range": [
        f"{OPEN}a_scan_asks_for_twice_as_much_each_time_and_never_for_more_than_that",
        f"{OPEN}reading_here_and_there_asks_for_little",
    ],
    "an object that is replaced while it is read": [
        f"{OPEN}one_version_is_read_and_a_replaced_object_is_an_error"
    ],
    "a small object": [f"{OPEN}less_than_a_part_is_one_request"],
    "a part that fails": ["faults/test_uploads.py::test_a_part_that_fails_is_sent_again"],
    "`HTS_S3_PART_SIZE`": [f"{OPEN}htslib_s_variable_is_the_size_of_parts"],
    "region": [
        f"{TARGETS}the_strongest_source_of_a_region_counts",
        f"{TARGETS}the_url_names_the_region_before_the_environment",
    ],
    "`host_base`, `bucket_location`, `host_bucket`": [
        f"{TARGETS}the_strongest_endpoint_counts",
        f"{TARGETS}s3cfg_counts_where_keys_come_from_there",
        f"{TARGETS}host_bucket_tells_the_style",
    ],
    "`use_https = False` in s3cfg": [f"{TARGETS}use_https_of_s3cfg_goes_with_its_host"],
    "`HTS_S3_HOST`": [f"{TARGETS}the_strongest_endpoint_counts"],
    "`AWS_ENDPOINT_URL`": [
        f"{CHAIN}sources.py::test_the_general_endpoint_url_is_that_of_the_token_service_too_unless_there_is_one_for_it",
        f"{CHAIN}sources.py::test_the_general_endpoint_url_is_that_of_logins_too",
    ],
    "`AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`": [
        f"{CHAIN}sources.py::test_the_switches_of_endpoints_are_those_of_the_token_service_too",
        f"{CHAIN}sources.py::test_hosts_of_the_services_are_botocore_s",
        f"{TARGETS}a_switch_that_code_does_not_give_yields_to_an_endpoint",
    ],
    "an unknown addressing style": [f"{TARGETS}an_unknown_style_is_refused_and_named_unlike_in_htslib"],
    "auto style": [f"{BOTOCORE}auto_style", f"{BOTOCORE}endpoints_of_ones_own"],
    "virtual style of a bucket with dots at AWS": [
        f"{BOTOCORE}virtual_style_with_dots_is_refused_where_their_tools_fall_back_to_paths"
    ],
    "a region learnt from an answer": [
        f"{REGIONS}a_wrong_region_is_corrected_once_and_remembered",
        f"{REGIONS}all_stores_of_a_bucket_know_what_one_has_learnt",
    ],
    "`HTS_S3_V2`": [f"{TARGETS}the_version_of_the_signature"],
    "an unknown profile": [
        f"{TARGETS}a_profile_that_is_in_no_file_is_an_error_where_files_are_read",
        f"{CHAIN}chain.py::test_a_profile_that_is_in_no_file_is_an_error_and_nobody_else_s_keys_are_taken",
    ],
}


def section(title):
    """Return the text below a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)[1]


def rows(text):
    """Return the cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_row_of_the_table_is_traced_and_nothing_else():
    table = rows(section("Where it differs from obstore"))
    assert all(len(row) == 3 and all(row) for row in table)
    assert [row[0] for row in table] == list(ROWS)


@pytest.mark.parametrize("subject", ROWS)
def test_the_tests_of_a_row_exist(subject):
    theirs, ours = ROWS[subject]
    assert theirs
    assert ours
    assert missing([*theirs, *ours]) == []


def test_the_table_of_files_is_traced():
    assert [row[0] for row in rows(section("Files"))] == list(FILES)
    for tests in FILES.values():
        assert missing(tests) == []


def test_the_table_of_layers_is_that_of_the_folders():
    layers = [row[0] for row in rows(section("How it is built"))]
    folders = {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()}
    assert set(layers) | {"python"} == folders
    essay = (ROOT / "csrc" / "README.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| `(\w+)/` \|", essay, re.MULTILINE)
    assert order == [*layers, "python"]


def test_every_place_that_is_named_is_there():
    named = re.findall(r"`((?:\.ci|csrc|s3ext|tests)/[\w/.]*|build\.py)`", README)
    named += re.findall(r"\]\(([\w./]+)\)", README)
    named += re.findall(r"^    bash (\.ci/\w+)$", README, re.MULTILINE)
    assert len(named) > 8
    # An installed copy of the tests has no .ci; the source distribution does not carry it.
    there = [name for name in set(named) if (ROOT / ".ci").is_dir() or not name.startswith(".ci")]
    assert [name for name in there if not (ROOT / name).exists()] == []


def test_the_example_does_what_it_says(monkeypatch, capsys):
    code = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    without_environment(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with VerifyingServer(buckets=("my-bucket",), region="eu-central-1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        names = {}
        exec(compile(code, "README.md", "exec"), names)
        assert not server.errors
        assert server.keys("my-bucket") == ["data/a.bin"]
    assert len(names["header"]) == 512
    assert list(map(len, names["tiles"])) == [512, 512]
    assert names["array"].nbytes == 1 << 20
    assert capsys.readouterr().out == f"['a.bin']\n[{1 << 20}]\n"


def test_the_example_of_files_does_what_it_says(monkeypatch):
    code = re.search(r"^```python\n(.*?)^```", section("Files"), re.MULTILINE | re.DOTALL)[1]
    without_environment(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with VerifyingServer(buckets=("my-bucket",)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        names = {"s3ext": s3ext}
        exec(compile(code, "README.md", "exec"), names)
        assert not server.errors
        assert server.get("notes.txt", bucket="my-bucket").data == b"hello\n"
    assert names["word"] == b"hello\n"


def test_the_libraries_named_are_those_that_the_build_asks_for():
    needed = re.search(r"libcurl (\d+)\.(\d+)", README)
    lane = (ROOT / "csrc" / "bytes" / "lane.c").read_text(encoding="utf-8")
    assert f"0x{int(needed[1]):02x}{int(needed[2]):02x}00" in lane
    build = (ROOT / "build.py").read_text(encoding="utf-8")
    assert f"libcurl >= {needed[1]}.{needed[2]}" in build
    assert "libssl >= 3.0" in build
    assert "OpenSSL 3 and expat" in README
