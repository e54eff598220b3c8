"""The catalogue of faults, 74 of them, and the tests that meet each.

What no test meets is said with its reason, and shows as a skipped test of this file.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.nodes import missing

COUNT = 74

ANSWERS = "faults/test_answers.py::test_"
BODIES = "faults/test_bodies.py::test_"
BUFFERS = "faults/test_buffers.py::test_"
CONNECTIONS = "faults/test_connections.py::test_"
EXPIRY = "faults/test_credentials.py::test_"
DEADLINES = "faults/test_deadlines.py::test_"
MEMORY = "faults/test_memory.py::test_"
NAMES = "faults/test_names.py::test_"
PROXIES = "faults/test_proxies.py::test_"
REGIONS = "faults/test_regions.py::test_"
RETRIES = "faults/test_retries.py::test_"
SECRETS = "faults/test_secrets.py::test_"
TLS = "faults/test_tls.py::test_"
UPLOADS = "faults/test_uploads.py::test_"
CANCEL = "lifecycle/test_cancel.py::test_"
EXIT = "lifecycle/test_exit.py::test_"
FORK = "lifecycle/test_fork.py::test_"
FORK_RESOLVER = "lifecycle/test_fork_resolver.py::test_"
LEAKS = "lifecycle/test_leaks.py::test_"
PROVIDERS = "lifecycle/test_providers.py::test_"
SIGNALS = "lifecycle/test_signals.py::test_"
THREADS = "lifecycle/test_threads.py::test_"
CORE = "core/test_core.py::test_the_program_finds_nothing_wrong"
PLAN = "pure/test_plan.py::test_"
XML = "pure/test_xml.py::test_"
ASYNC = "python/test_async.py::test_"
KEYS = "python/test_credentials.py::test_"
FILES = "credentials/test_files.py::test_"
CHAIN = "credentials/test_chain.py::test_"
LIST = "python/test_list.py::test_"
OPERATIONS = "python/test_operations.py::test_"
OPTIONS = "python/test_options.py::test_"
PATHS = "python/test_paths.py::test_"
PUT = "python/test_put.py::test_"


class Row(NamedTuple):
    """A fault.

    Attributes:
        fault: What goes wrong.
        tests: The tests that meet it.
        untested: What of it no test meets, and why; "" if nothing.
    """

    fault: str
    tests: tuple[str, ...]
    untested: str = ""


CATALOGUE = {
    1: Row(
        "a body ends too early, by FIN",
        (
            f"{BODIES}a_body_that_breaks_off_is_resumed_where_it_stopped",
            f"{BODIES}each_part_that_breaks_off_is_resumed",
        ),
    ),
    2: Row(
        "the same by RST",
        (
            f"{BODIES}a_body_that_breaks_off_is_resumed_where_it_stopped",
            f"{BODIES}each_part_that_breaks_off_is_resumed",
        ),
    ),
    3: Row(
        "a connection closed behind a complete answer",
        (f"{CONNECTIONS}an_answer_that_hangs_up_costs_the_next_request_nothing",),
    ),
    4: Row(
        "idle connections closed by the server, then a crowd of requests",
        (
            f"{CONNECTIONS}a_hundred_requests_at_once_after_all_idle_connections_were_closed",
            f"{CONNECTIONS}idle_connections_that_the_server_closed_surface_nowhere",
        ),
    ),
    5: Row(
        "a server that falls silent in the middle of a body",
        (
            f"{DEADLINES}a_body_that_stalls_is_resumed_elsewhere",
            f"{DEADLINES}a_body_that_always_stalls_is_a_timeout",
        ),
    ),
    6: Row(
        "a body that comes byte by byte",
        (
            f"{DEADLINES}drops_are_progress",
            f"{DEADLINES}a_total_deadline_ends_what_makes_progress_too",
        ),
        "there is no rule by speed: any byte is progress, and only `timeout` ends a body that is too slow",
    ),
    7: Row(
        "a request that is taken and never answered",
        (
            f"{DEADLINES}an_answer_that_does_not_come_is_asked_for_again",
            f"{DEADLINES}answers_that_never_come_are_a_timeout",
        ),
    ),
    8: Row(
        "an address that answers no SYN",
        (
            f"{DEADLINES}a_host_that_does_not_answer_a_connect_is_a_timeout",
            f"{NAMES}an_address_that_does_not_answer_is_passed_over",
        ),
    ),
    9: Row(
        "one of several addresses refuses",
        (f"{NAMES}an_address_that_refuses_is_passed_over",),
        "no address is avoided after it refused: the next connection may try it first",
    ),
    10: Row(
        "names: none, failing, slow, changing, of many addresses",
        (
            f"{NAMES}a_name_that_does_not_resolve_is_looked_up_twice",
            f"{NAMES}a_name_that_resolves_at_the_second_look_up_is_found",
            f"{NAMES}a_slow_look_up_is_waited_for",
            f"{NAMES}a_look_up_that_takes_too_long_is_a_timeout_and_holds_nobody_up",
            f"{NAMES}an_answer_that_changes_is_used_for_new_connections_once_it_is_looked_up_again",
            f"{CONNECTIONS}an_unknown_host_does_not_hold_up_others",
            "python/test_connection_options.py::test_connections_spread_over_all_addresses_of_a_host",
        ),
    ),
    11: Row(
        "a Content-Length that is too large",
        (
            f"{BODIES}a_length_that_is_too_large_is_no_short_data",
            f"{BODIES}short_data_is_never_returned",
        ),
    ),
    12: Row(
        "a Content-Length that is too small, bytes behind the body",
        (
            f"{BODIES}a_length_that_is_too_small_is_refused",
            f"{BODIES}rubbish_after_a_body_goes_with_its_connection",
        ),
    ),
    13: Row(
        "no Content-Length, chunks",
        (
            f"{BODIES}bodies_in_chunks_are_counted",
            f"{BODIES}a_body_that_ends_with_its_connection_is_counted",
        ),
    ),
    14: Row(
        "chunks with a wrong size or without an end",
        (
            f"{BODIES}chunks_that_are_wrong_once_are_asked_again",
            f"{BODIES}chunks_that_are_always_wrong_are_an_error",
        ),
    ),
    15: Row(
        "the whole object where a range was asked for",
        (
            f"{BODIES}a_server_without_ranges_is_read_once_and_remembered",
            f"{BODIES}the_wanted_bytes_are_cut_out_of_a_whole_answer",
            f"{BODIES}a_server_may_stop_honouring_ranges_in_the_middle",
        ),
    ),
    16: Row(
        "a Content-Range that is wrong, missing or no number",
        (
            f"{BODIES}a_wrong_content_range_is_tried_once_more_and_then_refused",
            f"{BODIES}a_wrong_content_range_of_a_later_part_is_refused",
        ),
    ),
    17: Row("several ranges in one answer", (f"{BODIES}an_answer_of_several_ranges_is_refused",)),
    18: Row(
        "an object replaced between two parts",
        (
            f"{BODIES}an_object_replaced_between_parts_is_an_error_not_a_mixture",
            f"{BODIES}a_stream_ends_with_the_error_after_right_bytes",
        ),
    ),
    19: Row(
        "no ETag",
        (
            f"{BODIES}without_an_etag_a_broken_body_starts_again",
            f"{BODIES}parts_without_an_etag_are_held_together_by_their_date",
        ),
    ),
    20: Row(
        "an object that becomes empty between two parts",
        (f"{BODIES}an_object_that_shrinks_to_nothing_is_not_taken_for_an_empty_one",),
    ),
    21: Row(
        "an empty object",
        (f"{BODIES}an_empty_object_is_read_whole", f"{BODIES}a_range_of_an_empty_object_is_an_error"),
    ),
    22: Row(
        "throttling, with every kind of Retry-After",
        (
            f"{RETRIES}throttles_are_waited_out",
            f"{RETRIES}throttles_without_end_are_a_throttled_error",
            f"{RETRIES}a_retry_after_that_asks_for_nothing_costs_nothing",
            f"{RETRIES}a_retry_after_in_seconds_is_obeyed",
            f"{RETRIES}a_retry_after_as_a_date_is_obeyed",
            f"{RETRIES}a_retry_after_beyond_the_time_for_retries_ends_them_at_once",
            f"{RETRIES}throttling_cuts_the_requests_in_flight",
        ),
    ),
    23: Row(
        "a storm of throttles on half of all requests",
        (
            f"{RETRIES}a_storm_of_throttles_is_survived_without_waste",
            f"{UPLOADS}uploads_survive_a_storm",
            "pure/test_limiter.py::test_in_a_storm_the_limit_falls_to_what_the_server_bears_and_recovers_after",
        ),
        "that a request and a half suffice for each useful one: where half are refused by chance, two are the"
        " least; storms here are of seconds, not of half a minute",
    ),
    24: Row("a page of HTML with a 5xx", (f"{RETRIES}a_page_of_html_is_retried_and_not_quoted",)),
    25: Row("400 RequestTimeout", (f"{RETRIES}failures_of_the_server_are_retried",)),
    26: Row(
        "clocks that differ by an hour",
        (f"{REGIONS}a_clock_that_is_wrong_is_learnt_once", f"{REGIONS}a_crowd_learns_the_clock_together"),
    ),
    27: Row("a Date that is none", (f"{REGIONS}a_date_that_is_none_teaches_nothing",)),
    28: Row(
        "a token that expires amid an upload",
        (
            f"{EXPIRY}an_upload_whose_token_expires_in_the_middle_is_completed",
            f"{EXPIRY}64_that_wait_are_served_by_one_refresh",
            f"{EXPIRY}64_threads_that_wait_are_served_by_one_refresh",
        ),
    ),
    29: Row(
        "a provider that raises, hangs or gives nonsense",
        (
            f"{KEYS}what_a_provider_raises_is_the_cause_of_the_error",
            f"{KEYS}an_answer_that_is_no_credential_is_refused_without_showing_it",
            f"{KEYS}a_slow_provider_holds_up_nobody_else",
        ),
    ),
    30: Row(
        "a provider at work while the process forks or ends",
        (
            f"{PROVIDERS}a_process_ends_while_a_provider_is_asked",
            f"{PROVIDERS}a_process_ends_while_keys_are_renewed_ahead_of_time",
            f"{PROVIDERS}a_provider_that_is_first_asked_at_the_end_still_answers",
            f"{PROVIDERS}a_fork_while_a_provider_hangs",
            f"{PROVIDERS}a_provider_that_forks",
            f"{FORK}a_child_forked_during_a_refresh_of_credentials_asks_for_its_own",
        ),
    ),
    31: Row(
        "a wrong region",
        (
            f"{REGIONS}a_wrong_region_is_corrected_once_and_remembered",
            f"{REGIONS}a_custom_endpoint_names_the_region_and_is_not_corrected",
        ),
    ),
    32: Row(
        "a redirect to an attacker",
        (f"{REGIONS}a_redirect_is_never_followed", f"{REGIONS}a_redirect_from_aws_leads_to_aws_only"),
    ),
    33: Row(
        "redirects in a circle",
        (
            f"{REGIONS}a_redirect_to_itself_is_no_loop",
            f"{REGIONS}a_region_is_corrected_once_for_a_request",
        ),
    ),
    34: Row(
        "certificates that must be refused",
        (
            f"{TLS}a_bad_certificate_is_refused_and_not_tried_again",
            f"{TLS}an_authority_that_nobody_named_is_refused",
        ),
    ),
    35: Row(
        "TLS without a farewell, in tiny records",
        (f"{TLS}ends_without_a_farewell_are_resumed", f"{TLS}tiny_records_are_put_together"),
        "renegotiation: TLS 1.3 has none, and Python's servers cannot ask for it",
    ),
    36: Row(
        "an error inside a 200, behind spaces that keep the connection alive",
        (
            f"{ANSWERS}an_error_inside_a_success_is_retried",
            f"{ANSWERS}spaces_that_keep_a_connection_alive_are_no_stall",
            "python/test_copies.py::test_a_part_that_failed_is_copied_again",
        ),
    ),
    37: Row(
        "a complete that is answered by nothing, or by half a document",
        (
            f"{UPLOADS}a_complete_that_was_done_although_its_answer_was_bad_is_a_success",
            f"{UPLOADS}a_complete_that_fails_aborts_the_upload",
            f"{ANSWERS}a_document_that_breaks_off_is_asked_for_again",
        ),
    ),
    38: Row(
        "a complete that was done, and whose answer was lost",
        (
            f"{UPLOADS}a_complete_that_was_done_although_its_answer_was_bad_is_a_success",
            f"{UPLOADS}an_upload_that_is_gone_and_left_another_object_is_an_error",
            f"{UPLOADS}a_complete_whose_answers_never_come_is_looked_up",
        ),
    ),
    39: Row(
        "a conditional put whose answer was lost",
        (
            f"{RETRIES}a_conditional_put_whose_answer_is_lost_is_not_sent_twice",
            f"{RETRIES}a_conditional_put_on_a_kept_connection_is_not_sent_twice_either",
        ),
        "looking up what became of it: such a put is an error here, and never sent again",
    ),
    40: Row(
        "409 ConditionalRequestConflict", (f"{RETRIES}a_conditional_put_that_was_refused_is_sent_again",)
    ),
    41: Row("a part answered without ETag", (f"{UPLOADS}a_part_that_cannot_be_sent_aborts_the_upload",)),
    42: Row(
        "a source that fails, a buffer that changes its size amid an upload",
        (
            f"{UPLOADS}a_source_that_fails_aborts_the_upload",
            f"{BUFFERS}a_buffer_cannot_be_resized_while_it_is_sent",
            f"{BUFFERS}arrays_and_maps_cannot_be_resized_or_closed_while_they_are_sent",
            f"{BUFFERS}a_buffer_stays_exported_until_a_cancelled_upload_has_ended",
        ),
    ),
    43: Row(
        "hostile XML",
        (
            f"{ANSWERS}hostile_pages_are_refused",
            f"{XML}every_doctype_ends_the_parse_before_its_entities_count",
            f"{XML}depth_bombs_end_at_the_ceiling",
            f"{XML}comments_cdata_prefixes_and_unknown_elements_are_understood",
            f"{XML}the_first_of_a_repeated_element_counts",
            f"{XML}any_key_survives_in_any_spelling_of_its_characters",
        ),
    ),
    44: Row(
        "listings without end",
        (
            f"{ANSWERS}a_list_whose_pages_repeat_their_token_ends_in_an_error",
            f"{ANSWERS}a_list_that_goes_on_without_a_token_is_an_error",
            f"{ANSWERS}a_page_without_end_is_refused_in_bounded_memory",
            f"{XML}a_page_of_a_million_entries_stops_at_the_ceiling",
        ),
    ),
    45: Row(
        "keys of every byte",
        (
            f"{LIST}odd_keys_are_listed_as_they_are",
            f"{OPERATIONS}signed_urls_let_anyone_in",
            "pure/test_uri.py::test_every_byte_is_encoded_as_urllib_does",
            "pure/test_sigv4.py::test_every_byte_in_key_and_query_is_signed_as_botocore_signs_it",
            "python/test_raw_keys.py::test_a_key_goes_through_every_operation_as_it_is",
        ),
    ),
    46: Row(
        "keys that no object can have",
        (
            f"{OPERATIONS}paths_are_checked_before_any_request",
            f"{PATHS}a_bad_path_is_refused_everywhere",
            f"{PATHS}a_key_has_at_most_1024_bytes_of_utf8_with_the_prefix",
        ),
    ),
    47: Row(
        "CR, LF and NUL in what becomes a header",
        (
            f"{OPERATIONS}values_that_could_forge_headers_are_refused",
            f"{PUT}attributes_that_no_header_can_hold_are_refused",
            f"{OPTIONS}control_characters_and_foreign_text_are_refused_before_they_reach_a_header",
            f"{OPTIONS}a_header_that_would_break_the_request_is_refused_as_by_obstore",
        ),
    ),
    48: Row(
        "floods of headers",
        (f"{ANSWERS}floods_of_headers_are_refused", f"{ANSWERS}a_long_header_is_no_flood"),
    ),
    49: Row("interim answers", (f"{ANSWERS}interim_answers_are_skipped",)),
    50: Row(
        "a body where there must be none",
        (
            f"{ANSWERS}a_body_after_a_head_does_not_reach_the_next_request",
            f"{ANSWERS}a_body_after_204_does_not_reach_the_next_request",
        ),
    ),
    51: Row("objects stored compressed", (f"{BODIES}stored_encodings_come_back_byte_for_byte",)),
    52: Row(
        "a wrong checksum of what is read",
        (
            "python/test_checksums.py::test_wrong_bytes_are_a_checksum_error",
            "python/test_checksums.py::test_one_wrong_byte_in_any_part_of_a_large_object_is_found",
        ),
    ),
    53: Row(
        "a server that refuses checksums",
        ("python/test_checksums.py::test_no_checksum_is_sent_that_was_not_asked_for",),
    ),
    54: Row(
        "secrets where somebody might read them",
        (
            f"{SECRETS}no_failure_shows_a_secret",
            f"{SECRETS}a_signature_that_is_wrong_is_not_shown",
            f"{SECRETS}no_secret_is_on_the_wire",
            f"{SECRETS}the_command_line_and_the_environment_hold_no_secret",
        ),
    ),
    55: Row(
        "files of credentials in every bad state",
        (
            f"{FILES}what_is_no_file_is_an_error_that_names_it_and_never_waits",
            f"{FILES}what_is_missing_is_as_if_empty",
            f"{FILES}what_comes_twice_is_no_error_and_the_last_counts",
            f"{FILES}a_byte_order_mark_is_no_part_of_a_name",
            f"{FILES}a_file_that_is_written_while_it_is_read_is_read_again",
            f"{FILES}many_threads_may_load_a_file_that_is_replaced",
            f"{CHAIN}a_broken_source_is_an_error_with_its_place_and_nobody_else_is_asked",
            f"{CHAIN}who_may_read_the_secrets_is_looked_at_once",
        ),
    ),
    56: Row(
        "Ctrl-C wherever a call may stand",
        (
            f"{SIGNALS}ctrl_c_while_a_connection_is_made",
            f"{SIGNALS}ctrl_c_in_the_body",
            f"{SIGNALS}ctrl_c_in_a_back_off",
            f"{SIGNALS}ctrl_c_while_credentials_are_awaited",
            f"{SIGNALS}ctrl_c_between_the_pages_of_a_list",
        ),
    ),
    57: Row(
        "storms of signals",
        (f"{SIGNALS}a_storm_of_timers", f"{SIGNALS}other_programs_signals_go_to_the_main_thread"),
    ),
    58: Row("SIGPIPE", (f"{SIGNALS}sigpipe_as_the_system_has_it",)),
    59: Row(
        "a fork amid transfers",
        (
            f"{FORK}fork_amid_64_transfers",
            f"{FORK}many_forks_during_transfers",
            f"{FORK}a_child_that_crashes_or_is_killed_leaves_the_parent_alone",
            f"{FORK}descriptors_do_not_pile_up_from_child_to_child",
            f"{FORK_RESOLVER}a_fork_during_a_look_up",
        ),
    ),
    60: Row(
        "worker processes of every kind",
        (f"{FORK}multiprocessing", f"{FORK}a_process_pool_executor"),
        "torch's DataLoader itself, which is too large to install for tests; it uses multiprocessing",
    ),
    61: Row(
        "the end of the interpreter with work under way",
        (
            f"{EXIT}work_in_flight",
            f"{EXIT}tasks_that_run_when_asyncio_run_ends",
            f"{EXIT}uploads_in_flight_are_aborted",
            f"{EXIT}use_in_atexit_functions",
        ),
    ),
    62: Row(
        "asyncio: cancellation, closed loops, many loops",
        (
            f"{CANCEL}cancellation_at_random_points",
            f"{CANCEL}a_loop_closed_with_work_in_flight",
            f"{CANCEL}loops_beside_loops",
            f"{CANCEL}loops_after_loops",
        ),
    ),
    63: Row(
        "a thousand threads",
        (f"{THREADS}a_thousand_threads", f"{THREADS}one_store_made_and_used_by_many_threads_at_once"),
        "Python without its lock: the extensions use the limited API, which it does not have",
    ),
    64: Row(
        "memory of two parts, slow readers, one that never reads",
        (
            f"{MEMORY}two_parts_are_in_flight_at_a_time_where_the_budget_is_two_parts",
            f"{MEMORY}one_part_larger_than_the_budget_is_let_through_alone",
            f"{MEMORY}streams_that_nobody_reads_hold_what_they_read_ahead_and_hold_up_nobody",
            f"{CORE}[admission]",
        ),
    ),
    65: Row(
        "descriptors, memory or threads run out",
        (f"{LEAKS}descriptors_that_have_run_out", f"{CORE}[failures]"),
    ),
    66: Row(
        "each allocation fails once",
        (
            f"{CORE}[torture]",
            f"{XML}when_any_allocation_fails_the_answer_is_no_memory_and_nothing_leaks",
        ),
    ),
    67: Row(
        "a clock that jumps",
        (f"{REGIONS}a_clock_that_jumps_is_learnt_again",),
        "it is the server's that jumps: a test cannot set the clock of its machine, nor suspend it",
    ),
    68: Row(
        "proxies that refuse or go away",
        (
            f"{PROXIES}a_proxy_that_wants_another_login_is_an_error",
            f"{PROXIES}a_proxy_that_makes_no_tunnel_is_an_error",
            f"{PROXIES}a_proxy_that_hangs_up_is_an_error",
            f"{PROXIES}a_proxy_that_is_not_there_is_an_error",
        ),
    ),
    69: Row(
        "proxies of the environment, and hosts that go without",
        (
            f"{PROXIES}hosts_that_are_excluded_go_without_the_proxy",
            f"{PROXIES}the_environment_may_name_a_proxy",
            "python/test_proxies.py::test_the_environment_is_read_by_curls_rules",
            "python/test_proxies.py::test_a_client_keeps_the_proxy_that_it_was_made_with",
        ),
    ),
    70: Row(
        "memory used again at once after a cancellation",
        (
            f"{CANCEL}a_destination_stays_exported_until_the_core_has_let_go",
            f"{ASYNC}a_destination_stays_exported_until_the_core_lets_go",
            f"{SIGNALS}a_destination_is_the_callers_again_after_ctrl_c",
        ),
    ),
    71: Row(
        "objects of 5 TiB, odd sizes of parts",
        (
            f"{PLAN}parts_cover_their_range_without_hole_or_overlap",
            f"{PLAN}an_upload_never_needs_more_than_ten_thousand_parts",
            f"{PLAN}the_largest_object_fits_and_one_byte_more_is_refused",
            f"{PLAN}a_part_size_of_zero_is_one_part",
            f"{MEMORY}ranges_far_out_in_a_huge_object_are_right",
        ),
    ),
    72: Row(
        "gets without number",
        (f"{LEAKS}ten_thousand_small_gets",),
        "ten thousand stand for a million, which would take minutes",
    ),
    73: Row(
        "a libcurl that lacks something, a server that speaks HTTP/2 only",
        (f"{ANSWERS}what_is_not_http_is_refused",),
        "one libcurl is linked at a time: builds without TLS or IPv6, or with GnuTLS, are not at hand",
    ),
    74: Row(
        "IPv6",
        (
            f"{ANSWERS}a_server_on_ipv6_is_served_alike",
            f"{NAMES}a_dead_ipv6_address_costs_little",
        ),
    ),
}


def test_every_fault_is_in_the_catalogue():
    assert list(CATALOGUE) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", CATALOGUE)
def test_a_fault_is_met_by_tests_or_says_why_not(number):
    row = CATALOGUE[number]
    assert row.tests or row.untested
    assert missing(test.partition("[")[0] for test in row.tests) == []


def test_the_programs_in_c_are_run():
    from tests.core.test_core import PROGRAMS

    named = {test for row in CATALOGUE.values() for test in row.tests if test.startswith(CORE)}
    assert {test.removeprefix(CORE).strip("[]") for test in named} <= set(PROGRAMS)


@pytest.mark.parametrize("number", [number for number, row in CATALOGUE.items() if row.untested])
def test_what_no_test_meets(number):
    pytest.skip(f"fault {number}, {CATALOGUE[number].fault}: {CATALOGUE[number].untested}")
