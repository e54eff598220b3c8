"""Each key, operation and behaviour of the contract, and the tests that prove it.

The contract is obstore's S3Store (0.12) with what we add to it, by its sections: construction and
configuration, client and retries, operations, exceptions, S3 on the wire, obspec and async-tiff. A row
without a test, a test that is gone, an option or a public name without a row all fail here.
"""

from __future__ import annotations

import pytest

import s3ext
from s3ext import exceptions, store
from s3ext._options import OPTIONS
from tests.nodes import missing


def at(file, names):
    """Make the ids of some tests of a file: `names` without their `test_`, blanks between them."""
    return [f"{file}.py::test_{name}" for name in names.split()]


def options(names):
    return at("python/test_options", names)


def client(names):
    return at("python/test_client_options", names)


def s3(names):
    return at("python/test_s3_options", names)


def configured(names):
    return at("python/test_store_config", names)


def operations(names):
    return at("python/test_operations", names)


def put(names):
    return at("python/test_put", names)


def listing(names):
    return at("python/test_list", names)


def files(names):
    return at("python/test_files", names)


def copies(names):
    return at("python/test_copies", names)


def checksums(names):
    return at("python/test_checksums", names)


def encryption(names):
    return at("python/test_encryption", names)


def locks(names):
    return at("python/test_locks", names)


def express(names):
    return at("python/test_express", names)


def deletes(names):
    return at("python/test_delete", names)


def faults(kind, names):
    return at(f"faults/test_{kind}", names)


def contract(kind, names):
    return at(f"contract/test_{kind}", names)


def gateway(kind, names):
    return at(f"radosgw/test_{kind}", names)


def chain(names):
    """Name tests of the sources of credentials, besides that of where they are looked for."""
    return [
        *options(
            "every_spelling_gives_the_canonical_key an_option_of_the_chain_changes_where_keys_are_looked_for"
        ),
        *at("credentials/test_sources", names),
    ]


def targets(names):
    return at("endpoints/test_targets", names)


SWITCH = [
    *targets(
        "switches_of_profiles_variables_and_code a_switch_that_code_does_not_give_yields_to_an_endpoint"
    ),
    *at("endpoints/test_on_the_wire", "every_call_arrives_at_the_host_asked_for"),
]

WEB_IDENTITY = chain("web_identity_by_options_and_variables")
CONTAINER = chain("a_container_by_a_path a_container_s_token_with_its_line_ends")

KEYS = {
    "access_key_id": [
        *options("keys_of_code_and_environment_are_never_mixed an_empty_key_is_refused"),
        *gateway("signatures", "wrong_keys_are_refused_with_the_servers_code"),
    ],
    "secret_access_key": [
        *options("half_a_pair_of_keys_is_refused_as_by_obstore"),
        *at("moto/test_moto", "signatures_hold_before_a_server_that_checks_them"),
    ],
    "session_token": [
        *options("an_empty_token_is_none"),
        *at("python/test_credentials", "a_token_is_sent_and_signed"),
        *gateway("tokens", "calls_with_a_session_token"),
    ],
    "profile": at(
        "credentials/test_chain",
        "a_profile_in_code_is_stronger_than_keys_of_the_environment"
        " a_profile_that_is_in_no_file_is_an_error_and_nobody_else_s_keys_are_taken",
    ),
    "region": options(
        "which_region_is_used obstore_signs_for_the_same_region regions a_bad_region_is_refused"
    ),
    "default_region": options("which_region_is_used obstore_signs_for_the_same_region"),
    "bucket": [
        *configured("a_store_needs_a_bucket only_the_bucket_may_be_positional"),
        *options("a_bucket_name_that_cannot_be_one_is_refused"),
    ],
    "endpoint": [
        *options("which_endpoint_is_used obstore_uses_the_same_endpoint"),
        *at("python/test_url", "an_endpoint_is_taken_apart a_bad_endpoint_is_refused_by_name"),
        *s3("requests_go_to_the_endpoints_path_in_both_styles"),
    ],
    "endpoint_url_s3": options(
        "which_endpoint_is_used an_endpoint_in_code_is_not_redirected_by_the_environment_unlike_obstores"
    ),
    "host": targets("the_strongest_endpoint_counts a_host_that_is_none_is_refused_and_named"),
    "scheme": at(
        "python/test_url",
        "the_scheme_of_a_url_is_for_its_store_alone keys_a_profile_and_a_scheme_come_from_the_url",
    ),
    "virtual_hosted_style_request": [
        *s3("requests_go_to_the_endpoints_path_in_both_styles"),
        *gateway("urls", "all_calls_go_to_virtual_hosts"),
        *options("a_bucket_that_no_host_can_carry_is_refused_for_virtual_hosting"),
    ],
    "addressing_style": [
        *targets("the_strongest_style_counts an_unknown_style_is_refused_and_named_unlike_in_htslib"),
        *at("endpoints/test_against_botocore", "path_style auto_style virtual_style"),
    ],
    "use_accelerate_endpoint": SWITCH,
    "use_dualstack_endpoint": SWITCH,
    "use_fips_endpoint": SWITCH,
    "use_arn_region": at(
        "endpoints/test_against_botocore",
        "an_arn_of_another_region an_arns_region_may_replace_the_one_in_code_where_code_says_so",
    ),
    "ignore_configured_endpoint_urls": targets("configured_urls_may_be_ignored"),
    "signature_version": [
        *targets("the_version_of_the_signature an_unknown_version_is_refused"),
        *at("endpoints/test_against_botocore", "a_presigned_url_of_version_2_is_that_of_boto3"),
    ],
    "s3_express": express("all_operations_go_in_one_session a_bucket_has_to_name_its_zone"),
    "imdsv1_fallback": chain("version_1_only_when_asked_for"),
    "metadata_endpoint": chain("where_the_metadata_is an_instance_gives_keys_by_version_2"),
    "unsigned_payload": [
        *s3("bodies_are_signed_unless_they_are_left_out"),
        *gateway(
            "signatures",
            "an_unsigned_body_is_taken_as_it_comes all_calls_go_with_signed_and_unsigned_payloads",
        ),
    ],
    "checksum_algorithm": [
        *checksums("a_single_put_carries_the_checksum an_upload_in_parts_carries_checksums_throughout"),
        *options("an_unknown_checksum_is_refused"),
    ],
    "verify_checksums": checksums("what_is_read_is_verified wrong_bytes_are_a_checksum_error"),
    "container_credentials_relative_uri": CONTAINER,
    "container_credentials_full_uri": CONTAINER,
    "container_authorization_token_file": CONTAINER,
    "web_identity_token_file": WEB_IDENTITY,
    "role_arn": WEB_IDENTITY,
    "role_session_name": WEB_IDENTITY,
    "endpoint_url_sts": WEB_IDENTITY,
    "skip_signature": [
        *s3("without_a_signature_there_is_no_header_of_amazons"),
        *operations("a_public_bucket_needs_no_credentials_but_a_signed_url_does"),
        *gateway("signatures", "who_signs_nothing_reads_what_is_public"),
    ],
    "copy_if_not_exists": [
        *options("modes_of_copy_if_not_exists"),
        *copies(
            "without_a_mode_a_conditional_copy_is_not_supported a_conditional_copy_copies_where_nothing_is"
            " a_conditional_copy_replaces_nothing_and_keeps_the_source"
        ),
    ],
    "conditional_put": [
        *options("modes_of_conditional_put other_modes_of_conditional_put_are_refused"),
        *put("create_puts_only_what_is_not_there"),
        *s3("a_conditional_put_is_refused_where_it_is_disabled"),
        *locks("a_create_takes_a_lock_as_object_store_does"),
    ],
    "disable_tagging": s3("tags_are_left_out_where_they_are_disabled"),
    "disable_bulk_delete": [
        *operations("without_bulk_delete_each_key_is_a_request"),
        *gateway("writes", "a_store_without_bulk_delete_deletes_one_by_one"),
    ],
    "request_payer": [
        *s3("a_requester_who_pays_says_so_in_every_request nobody_pays_who_does_not_say_so_or_does_not_sign"),
        *options("request_payer_takes_requester request_payer_has_two_variables"),
    ],
    "server_side_encryption": [
        *encryption("what_makes_an_object_names_the_encryption_and_nothing_else_does"),
        *options(
            "an_unknown_encryption_is_refused options_of_encryption_that_do_not_go_together_are_refused"
        ),
    ],
    "sse_kms_key_id": [
        *encryption("what_makes_an_object_names_the_encryption_and_nothing_else_does"),
        *options("options_of_encryption_that_do_not_go_together_are_refused"),
    ],
    "sse_bucket_key_enabled": [
        *encryption("what_makes_an_object_names_the_encryption_and_nothing_else_does"),
        *options("options_of_encryption_that_do_not_go_together_are_refused"),
    ],
    "sse_customer_key_base64": [
        *encryption(
            "a_customers_key_goes_with_every_request_that_touches_the_bytes the_wrong_key_and_no_key_say_so"
            " the_key_shows_nowhere"
        ),
        *options(
            "a_customer_key_must_have_256_bits"
            " a_key_in_the_environment_for_another_mode_than_the_codes_counts_for_nothing"
        ),
    ],
    "raw_keys": [
        *at(
            "python/test_raw_keys",
            "a_key_goes_through_every_operation_as_it_is what_a_listing_shows_can_be_asked_for"
            " listing_and_reading_agree what_no_server_takes_is_refused_before_any_request",
        ),
        *gateway("raw_keys", "what_another_client_wrote_is_listed_read_copied_and_deleted"),
    ],
    "allow_http": [
        *client("nothing_is_sent_over_http_unless_it_is_allowed"),
        *options("http_needs_allow_http_at_the_first_request_not_before"),
    ],
    "allow_invalid_certificates": [
        *faults("tls", "any_certificate_will_do_if_the_user_says_so"),
        *client("a_proxy_whose_certificate_is_of_no_interest_is_used"),
    ],
    "disable_system_certificates": client("the_systems_certificates_count_unless_they_are_disabled"),
    "root_certificate": [
        *client("several_root_certificates_are_all_trusted"),
        *faults("tls", "an_authority_that_nobody_named_is_refused trust_is_of_one_store_only"),
        *options("a_certificate_that_cannot_be_one_is_refused_by_name a_root_certificate_must_be_pem"),
    ],
    "connect_timeout": faults(
        "deadlines",
        "a_host_that_does_not_answer_a_connect_is_a_timeout"
        " a_handshake_that_does_not_end_is_a_connect_timeout",
    ),
    "timeout": faults(
        "deadlines",
        "a_total_deadline_ends_what_makes_progress_too a_total_deadline_is_of_one_request_and_resumes",
    ),
    "read_timeout": faults(
        "deadlines",
        "answers_that_never_come_are_a_timeout a_body_that_always_stalls_is_a_timeout drops_are_progress",
    ),
    "pool_idle_timeout": [
        *client("an_idle_connection_is_used_within_its_time_and_not_after"),
        *faults("mending", "connections_within_their_idle_time_are_kept"),
    ],
    "pool_max_idle_per_host": at(
        "python/test_connection_options",
        "no_more_idle_connections_are_kept_than_were_asked_for without_a_limit_connections_are_kept",
    ),
    "http1_only": at(
        "python/test_connection_options",
        "every_kind_of_request_goes_by_the_version_that_was_asked_for"
        " two_versions_that_exclude_each_other_are_refused",
    ),
    "http2_only": at(
        "python/test_connection_options",
        "every_kind_of_request_goes_by_the_version_that_was_asked_for"
        " a_server_without_http_2_is_named_when_nothing_else_will_do",
    ),
    "http2_keep_alive_interval": [
        *client("the_kernel_is_told_how_to_watch_a_connection"),
        *at("python/test_connection_options", "idle_connections_are_probed_as_often_as_was_asked_for"),
    ],
    "http2_keep_alive_timeout": client("the_kernel_is_told_how_to_watch_a_connection"),
    "http2_keep_alive_while_idle": client("what_changes_nothing_is_taken_and_harmless"),
    "http2_max_frame_size": client("what_changes_nothing_is_taken_and_harmless"),
    "proxy_url": [
        *faults("proxies", "a_proxy_carries_requests a_proxy_that_wants_another_login_is_an_error"),
        *client("a_proxy_of_socks_is_told_the_name_or_the_address"),
    ],
    "proxy_ca_certificate": client(
        "a_proxy_over_tls_is_trusted_by_its_own_certificates"
        " a_proxy_over_tls_that_is_not_trusted_gets_no_request"
    ),
    "proxy_excludes": [
        *client("hosts_are_excluded_as_in_no_proxy addresses_are_excluded_by_their_network"),
        *faults("proxies", "hosts_that_are_excluded_go_without_the_proxy"),
    ],
    "randomize_addresses": at(
        "python/test_connection_options", "connections_spread_over_all_addresses_of_a_host"
    ),
    "user_agent": client("every_request_names_its_user_agent"),
    "default_content_type": client("an_upload_that_names_no_content_type_gets_the_default"),
    "default_headers": [
        *client("default_headers_are_in_every_request_and_signed"),
        *gateway("signatures", "default_headers_are_signed_with_their_odd_values"),
        *options("headers_of_the_request_itself_are_refused"),
    ],
    "lane": client(
        "the_lane_that_is_asked_for_carries_the_requests a_lane_that_cannot_serve_is_an_error_that_says_why"
    ),
    "part_size": operations("a_large_range_is_read_in_parts objects_around_the_part_size_are_read_whole"),
    "concurrency": client("no_more_requests_are_in_flight_for_a_host_than_was_asked_for"),
    "max_retries": [
        *client("a_request_is_retried_as_often_as_was_asked_for"),
        *faults("retries", "no_retries_can_be_asked_for"),
    ],
    "retry_timeout": faults(
        "retries",
        "retries_end_with_the_time_for_them a_retry_after_beyond_the_time_for_retries_ends_them_at_once",
    ),
    "init_backoff": client("the_first_wait_has_its_bound"),
    "max_backoff": client("no_wait_is_longer_than_the_longest"),
    "base": [
        *client("the_base_is_what_waits_grow_by"),
        *options("a_base_that_makes_no_back_off_is_refused_where_obstore_panics_later"),
    ],
}
"""Sections 1.2, 2.1 and 2.2: each option's effect."""

PUBLIC = {
    "S3Store": configured("only_the_bucket_may_be_positional making_a_store_imports_nothing_heavy"),
    "from_url": [
        *at(
            "python/test_url",
            "a_store_url_gives_configuration_and_prefix the_module_function_makes_an_s3store",
        ),
        *configured("a_subclass_gets_its_own_instances_from_urls_and_its_init_is_called"),
    ],
    "parse_scheme": at(
        "python/test_url", "parse_scheme_names_the_kind_of_store parse_scheme_agrees_with_obstore"
    ),
    "prefix": configured("the_prefix_is_normalised properties_give_back_what_was_given"),
    "config": configured("properties_give_back_what_was_given a_store_shows_what_obstore_shows"),
    "client_options": configured("properties_give_back_what_was_given a_store_shows_what_obstore_shows"),
    "retry_config": [
        *configured("properties_give_back_what_was_given"),
        *options("retry_config_is_filled_up_as_by_obstore"),
    ],
    "credential_provider": configured("properties_give_back_what_was_given properties_cannot_be_set"),
    "get": operations(
        "get_brings_bytes_and_metadata_in_one_request get_takes_a_range conditions_decide"
        " get_with_head_brings_no_bytes a_version_is_asked_for get_reads_into_the_callers_memory"
    ),
    "get_range": operations(
        "get_range_by_end_or_length"
        " bad_ranges_are_refused_in_obstores_words get_range_into_an_array_of_any_type"
    ),
    "get_ranges": operations(
        "ranges_come_in_input_order_and_near_ones_in_one_request"
        " ranges_are_read_into_one_buffer_or_one_for_each"
    ),
    "head": operations("head_tells_size_etag_and_time_of_modification"),
    "put": put(
        "a_buffer_is_put_in_one_request files_and_iterators_are_put create_puts_only_what_is_not_there"
        " update_puts_only_over_the_version_that_is_known attributes_come_back tags_are_form_encoded"
    ),
    "delete": operations("delete_takes_one_path_or_many many_keys_are_deleted_a_thousand_a_request"),
    "delete_prefix": deletes(
        "a_prefix_is_deleted_and_counted an_empty_prefix_has_to_be_meant"
        " every_key_below_a_prefix_goes_whatever_it_is_called"
    ),
    "list": listing(
        "nothing_is_asked_before_the_first_chunk chunks_have_exactly_the_size_asked_for"
        " a_prefix_is_of_whole_segments an_offset_is_exclusive_and_relative_to_the_stores_prefix"
    ),
    "list_with_delimiter": listing("one_level_is_listed one_level_of_many_pages"),
    "copy": [
        *operations("copy_and_rename an_error_inside_a_200_of_a_copy_is_an_error"),
        *copies("what_is_too_large_for_one_request_is_copied_in_parts"),
    ],
    "rename": [
        *operations("copy_and_rename renaming_onto_itself_loses_nothing"),
        *copies("a_rename_whose_copy_failed_keeps_the_source"),
    ],
    "sign": [
        *operations("signed_urls_let_anyone_in signing_refuses_what_makes_no_sense"),
        *gateway(
            "urls", "signed_urls_do_what_they_are_for an_expired_url_is_refused a_changed_url_is_refused"
        ),
    ],
    "open": at(
        "python/test_open",
        "a_binary_file_does_what_pythons_does a_text_file_does_what_pythons_does"
        " a_profile_of_the_url_gives_the_keys a_mode_that_is_none_is_refused_as_by_python",
    ),
    "ObjectWriter": at(
        "python/test_open",
        "what_is_written_is_there_whole_or_not_at_all a_closed_writer_is_as_pythons"
        " what_exists_is_not_created_again a_file_that_is_dropped_makes_no_object",
    ),
    "open_reader": files("a_read_gives_as_many_bytes_as_were_asked_for positions_are_as_in_files"),
    "open_writer": files("less_than_a_buffer_is_one_request more_goes_in_parts_of_a_buffer"),
    "ReadableFile": files(
        "whatever_is_done_to_a_reader_it_does_as_a_file_in_memory a_closed_reader_reads_nothing"
    ),
    "AsyncReadableFile": [
        *contract("lessons", "an_async_reader_reads_lines_pieces_and_all"),
        *files("tasks_and_threads_share_a_reader"),
    ],
    "WritableFile": files("a_block_that_raises_leaves_nothing_behind a_writer_is_closed_once"),
    "AsyncWritableFile": files("tasks_share_a_writer a_cancelled_write_aborts_the_upload"),
    "Bytes": at(
        "python/test_bytes", "each_operation_does_what_obstore_does nothing_is_copied_from_the_exporter"
    ),
    "GetResult": operations("a_body_can_be_taken_once_and_the_metadata_stays iterating_a_result_streams_it"),
    "BytesStream": operations(
        "a_stream_gives_pieces_of_at_least_the_size_asked_for a_stream_reads_in_turns_sync_and_async"
    ),
    "ListStream": listing("a_collected_listing_is_what_remains the_next_page_is_fetched_ahead"),
    "stats": operations("counters_count"),
    "show_versions": operations("versions_are_shown"),
    "exceptions": at("python/test_exceptions", "every_exported_class_is_in_the_tree"),
    "store": configured("types_come_with_the_module"),
    **dict.fromkeys(
        (
            "Attribute",
            "Attributes",
            "GetOptions",
            "ListResult",
            "ObjectMeta",
            "OffsetRange",
            "PutMode",
            "PutResult",
            "SuffixRange",
            "UpdateVersion",
            "BackoffConfig",
            "ClientConfig",
            "RetryConfig",
            "S3ChecksumAlgorithm",
            "S3Config",
            "S3Credential",
            "S3CredentialProvider",
            "S3EncryptionAlgorithm",
            "S3Regions",
        ),
        contract(
            "typing", "a_type_can_be_imported_at_run_time annotations_of_a_program_can_be_read_at_run_time"
        ),
    ),
}
"""What `s3ext`, `s3ext.store` and a store have; a name with `_async` is in the row of the name without.

The tests of operations run each call in sync and in async code.
"""

CONSTRUCTION = {
    "keys in any case, kwargs and config alike": options("every_spelling_gives_the_canonical_key"),
    "spellings, variables and types of the table": options(
        "the_table_holds_every_key_of_the_contract_and_ours_and_no_other"
        " an_s3_option_has_every_spelling_of_the_contract variables_are_the_aws_spellings_or_our_own"
        " typed_dictionaries_have_the_keys_of_the_table"
    ),
    "every variable means what the option means": options(
        "every_variable_means_what_the_option_means_in_code an_empty_variable_counts_as_unset"
        " unknown_and_lower_case_variables_are_ignored"
    ),
    "client options as keywords": options(
        "client_options_given_as_keywords_are_shown_in_client_options"
        " a_client_option_is_also_a_configuration_key"
    ),
    "unknown keys, with the nearest": options(
        "an_unknown_key_is_refused_with_the_nearest_one an_unknown_client_option_is_a_value_error"
        " no_option_is_called_prefix"
    ),
    "keys and dictionaries of a wrong type": options("keys_must_be_str dictionaries_must_be_dictionaries"),
    "duplicate keys": options(
        "an_option_given_twice_is_refused_as_by_obstore"
        " a_client_option_given_twice_is_refused_too_where_obstore_takes_the_last"
    ),
    "bools, as bool, text and number": options(
        "words_for_booleans other_words_are_no_booleans booleans_and_the_numbers_0_and_1_become_words"
    ),
    "durations, as text, timedelta and number": options(
        "durations_become_milliseconds_rounded_up what_is_no_duration_is_refused"
        " timedeltas_and_numbers_of_seconds_become_text the_same_texts_are_durations_as_for_obstore"
    ),
    "whole numbers, as int and text": options(
        "whole_numbers_may_be_ints_or_text what_is_no_whole_number_is_refused"
    ),
    "text that would break a header": options(
        "control_characters_and_foreign_text_are_refused_before_they_reach_a_header"
    ),
    "precedence: code, provider, environment": options(
        "the_strongest_source_wins nothing_of_the_environment_is_shown"
    ),
    "client_options shuts out the environment": options(
        "client_options_shut_out_those_of_the_environment_but_not_ours"
    ),
    "the environment is read at construction": options(
        "the_environment_is_read_when_a_store_is_made a_bad_variable_fails_every_construction_and_is_named"
    ),
    "URL against config and keywords": configured(
        "config_and_provider_are_laid_over_and_under_the_url keywords_that_contradict_the_url_are_refused"
    ),
    "URLs of the contract and beyond": at(
        "python/test_url",
        "a_store_url_gives_configuration_and_prefix a_bad_url_is_refused_with_obstores_words"
        " obstore_agrees_with_the_contract a_store_of_another_kind_is_not_supported",
    ),
    "a provider beats keys": options(
        "a_provider_beats_static_keys_from_anywhere a_provider_must_be_callable"
    ),
    "values are shown as they were given": options("client_options_are_shown_as_obstore_shows_them"),
    "repr": configured("repr_is_obstores no_repr_shows_a_secret"),
    "equality, no hash": configured(
        "stores_are_equal_when_they_were_given_the_same nothing_else_equals_a_store stores_cannot_be_hashed"
    ),
    "subclasses, attributes": configured(
        "a_subclass_gets_its_own_instances_from_urls_and_its_init_is_called attributes_may_be_added"
    ),
    "pickle": [
        *configured("a_copy_is_the_same_store keys_from_the_environment_are_not_in_the_pickle"),
        *contract("rebuild", "a_pickle_and_a_copy_keep_every_option"),
    ],
    "__getnewargs_ex__ as extensions in Rust read it": contract(
        "rebuild",
        "the_class_has_the_name_that_extensions_look_for obstore_makes_its_own_store_of_our_arguments"
        " arguments_are_plain_and_absent_when_not_given the_other_store_reads_what_ours_wrote"
        " what_obstore_refuses_is_in_the_arguments_so_that_it_says_so"
        " a_requester_who_pays_travels_as_a_boolean_and_stays_what_was_given",
    ),
    "no secret in errors": options(
        "a_refused_secret_is_not_in_the_error a_refused_proxy_does_not_show_its_password"
    ),
    "path rules": at(
        "python/test_paths",
        "a_path_is_normalised a_bad_path_is_refused_everywhere normalize_agrees_with_obstore",
    ),
    "prefix of the store in every operation": operations("every_operation_stays_within_the_stores_prefix"),
    "README's table is that of the options": at(
        "test_options_table", "the_table_of_readme_is_that_of_the_options"
    ),
}

RETRIES = {
    "statuses and codes that are retried": at("pure/test_retry", "answers_and_what_they_end_in"),
    "every operation retries": faults(
        "retries", "every_operation_retries failures_of_the_server_are_retried"
    ),
    "Retry-After": faults("retries", "a_retry_after_in_seconds_is_obeyed a_retry_after_as_a_date_is_obeyed"),
    "unknown keys ignored, types strict": options(
        "retry_config_is_filled_up_as_by_obstore a_bad_retry_config_is_refused_as_by_obstore"
    ),
    "errors inside a 200": faults(
        "answers", "an_error_inside_a_success_is_retried a_late_error_without_end_is_raised"
    ),
    "a body that breaks off": faults(
        "bodies",
        "a_body_that_breaks_off_is_resumed_where_it_stopped without_an_etag_a_broken_body_starts_again",
    ),
    "conditional puts are not sent twice": faults(
        "retries", "a_conditional_put_whose_answer_is_lost_is_not_sent_twice"
    ),
    "redirects are not followed": faults("regions", "a_redirect_is_never_followed"),
    "no compression is asked for": s3("a_request_asks_for_no_compression_and_follows_no_old_habits"),
    "proxies of the environment": [
        *faults("proxies", "the_environment_may_name_a_proxy"),
        *at("python/test_proxies", "the_environment_is_read_by_curls_rules"),
    ],
}

BEHAVIOUR = {
    "sync and async, functions and methods": [
        *operations("every_operation_is_a_function_too"),
        *at("python/test_async", "methods_are_coroutine_functions sync_calls_work_inside_a_running_loop"),
        *at("python/test_functions", "every_operation_of_a_store_has_a_function"),
    ],
    "Ctrl-C and fork": [
        *at("lifecycle/test_signals", "ctrl_c_while_the_answer_is_awaited"),
        *at("lifecycle/test_fork", "a_child_works_as_its_parent_does"),
    ],
    "ranges: ends, lengths, past the end, 416": operations(
        "get_range_by_end_or_length a_range_that_begins_at_the_end_is_the_servers_error"
        " numbers_out_of_range_are_overflow_errors"
    ),
    "ranges are merged": [
        *operations("ranges_come_in_input_order_and_near_ones_in_one_request"),
        *at(
            "pure/test_plan",
            "the_gap_is_inclusive coalescing_covers_every_range_in_order_without_touching_fetches",
        ),
    ],
    "a wrong answer to a range": faults(
        "bodies",
        "a_wrong_content_range_is_tried_once_more_and_then_refused"
        " the_wanted_bytes_are_cut_out_of_a_whole_answer",
    ),
    "GetOptions: conditions in any time zone, ranges, version, head": [
        *operations(
            "conditions_decide get_takes_a_range a_long_suffix_is_read_in_parts a_version_is_asked_for"
            " get_with_head_brings_no_bytes values_that_could_forge_headers_are_refused"
        ),
        *gateway("reads", "date_conditions etag_conditions"),
    ],
    "GetResult: once, streams, attributes": operations(
        "a_body_can_be_taken_once_and_the_metadata_stays a_result_got_in_one_way_can_be_read_in_the_other"
        " a_stream_gives_pieces_of_at_least_the_size_asked_for"
    ),
    "ObjectMeta of head and list": [
        *operations("head_tells_size_etag_and_time_of_modification"),
        *listing("an_object_is_listed_with_its_metadata"),
    ],
    "put: every kind of input": put(
        "anything_with_the_buffer_protocol_is_put_as_its_bytes files_and_iterators_are_put"
        " async_iterators_are_put_by_put_async_only what_cannot_be_put_is_refused_before_any_request"
    ),
    "put: modes": put(
        "create_puts_only_what_is_not_there update_puts_only_over_the_version_that_is_known"
        " conditional_puts_are_single_requests other_modes_are_refused"
    ),
    "put: attributes and tags": put(
        "attributes_come_back tags_are_form_encoded attributes_that_no_header_can_hold_are_refused"
    ),
    "put: parts, their number and their window": [
        *put("the_size_decides_on_parts_unless_the_caller_does parts_in_flight_are_bounded"),
        *at("pure/test_plan", "an_upload_never_needs_more_than_ten_thousand_parts"),
    ],
    "put: a failure aborts": put(
        "a_failing_source_aborts_the_upload_and_its_error_comes_out a_failing_part_aborts_the_upload"
    ),
    "a put without ETag is an error": faults("answers", "a_put_without_an_etag_in_its_answer_is_an_error"),
    "delete: bulk, missing keys, refused keys": [
        *operations(
            "many_keys_are_deleted_a_thousand_a_request a_key_that_the_server_does_not_delete_is_an_error"
        ),
        *contract("lessons", "deleting_what_is_not_there_is_no_error"),
    ],
    "delete: iterables of both kinds": deletes(
        "any_iterable_is_deleted async_iterables_are_deleted an_endless_iterator_is_taken_as_the_requests_go"
    ),
    "delete: keys that XML cannot carry": deletes("keys_that_xml_cannot_carry_go_alone_in_the_same_call"),
    "list: whole segments or to the character": listing(
        "a_prefix_is_of_whole_segments a_prefix_may_be_taken_to_the_character"
    ),
    "list: odd keys": [
        *listing("odd_keys_are_listed_as_they_are"),
        *gateway("lists", "keys_that_xml_cannot_hold_are_listed"),
    ],
    "list: Arrow": at(
        "python/test_arrow",
        "chunks_are_the_same_as_those_of_dicts"
        " one_level_is_a_table_of_all_pages the_schema_is_that_of_obstore"
        " where_arro3_is_installed_its_classes_are_returned without_arro3_the_module_can_be_imported",
    ),
    "copy above 5 GiB": copies("what_is_too_large_for_one_request_is_copied_in_parts"),
    "sign: every method, prefix, token, lifetime": [
        *operations("signed_urls_let_anyone_in signing_refuses_what_makes_no_sense"),
        *gateway("tokens", "urls_carry_the_session_token"),
        *contract("lessons", "a_store_with_a_prefix_puts_lists_signs_and_deletes_within_it"),
        *at(
            "python/test_sign",
            "a_url_is_signed_for_its_method nothing_but_the_host_is_signed_and_the_signature_is_last"
            " keys_sign_urls_where_requests_are_not_signed a_time_that_no_url_can_have_is_refused",
        ),
    ],
    "readers and writers": files(
        "lines_are_read_with_their_ends the_metadata_is_asked_for_once_and_every_read_is_of_that_version"
        " parts_are_sent_while_more_is_written arguments_are_checked_before_anything_is_sent"
    ),
}

EXCEPTIONS = {
    "the tree, with builtin bases": at(
        "python/test_exceptions", "bases_are_those_of_the_tree every_name_of_obstore_is_there"
    ),
    "classes of statuses": contract(
        "errors", "a_status_has_one_class_in_every_operation a_conditional_put_has_classes_of_its_own"
    ),
    "classes of listings": contract("errors", "a_listing_has_the_class_of_the_status"),
    "attributes": contract("errors", "an_error_has_every_attribute an_error_names_the_operation"),
    "a message of one line, with a hint": contract(
        "errors", "the_message_is_one_line_with_what_where_and_why a_usual_mistake_has_a_hint_at_the_end"
    ),
    "new classes": contract(
        "errors",
        "a_deadline_is_a_timeout_error nobody_listening_is_a_connection_error"
        " an_answer_that_is_not_what_was_asked_for_is_a_protocol_error"
        " an_object_that_changes_while_it_is_read_is_a_precondition_error",
    ),
    "what a provider raised": at(
        "python/test_credentials", "what_a_provider_raises_is_the_cause_of_the_error"
    ),
}

WIRE = {
    "encoding of keys": [
        *at("pure/test_uri", "every_byte_is_encoded_as_urllib_does dots_and_double_slashes_of_a_path_stay"),
        *gateway("signatures", "odd_keys_are_put_got_listed_copied_and_deleted"),
    ],
    "signatures": [
        *at("pure/test_sigv4", "aws_header_examples headers_are_signed_as_botocore_signs_them"),
        *gateway(
            "signatures", "a_request_changed_on_the_way_is_refused a_body_changed_on_the_way_is_refused"
        ),
    ],
    "clock skew": gateway("signatures", "a_wrong_clock_is_found_and_made_up_for"),
    "path and virtual-hosted style, endpoints with a path": s3(
        "requests_go_to_the_endpoints_path_in_both_styles"
    ),
    "no checksum that nobody asked for": [
        *s3("no_checksum_is_sent_that_nobody_asked_for"),
        *checksums("no_checksum_is_sent_that_was_not_asked_for"),
    ],
    "checksums on upload": checksums(
        "a_single_put_carries_the_checksum an_upload_in_parts_carries_checksums_throughout"
        " a_body_that_is_damaged_on_its_way_is_refused"
        " a_part_that_the_server_spoils_is_found_by_the_whole_objects_checksum"
    ),
    "checksums on download": checksums(
        "what_is_read_is_verified objects_in_parts_are_verified wrong_bytes_are_a_checksum_error"
    ),
    "SSE-S3, SSE-KMS, DSSE-KMS": encryption(
        "what_makes_an_object_names_the_encryption_and_nothing_else_does without_the_option_no_header_is_sent"
    ),
    "SSE-C, copies included": encryption(
        "a_customers_key_goes_with_every_request_that_touches_the_bytes"
        " a_copy_in_parts_has_the_key_for_source_and_target"
    ),
    "copy_if_not_exists: multipart": copies("a_conditional_copy_copies_where_nothing_is"),
    "copy_if_not_exists: header": copies("a_conditional_copy_replaces_nothing_and_keeps_the_source"),
    "copy_if_not_exists: header-with-status": copies(
        "a_header_may_come_with_a_status_of_its_own another_status_than_the_modes_is_what_it_is"
    ),
    "copy_if_not_exists: dynamo": locks(
        "a_conditional_copy_is_done_under_a_lock of_many_renames_to_one_name_one_wins_and_no_source_is_lost"
    ),
    "conditional_put: dynamo": locks(
        "a_create_takes_a_lock_as_object_store_does of_many_creators_one_wins"
        " the_lock_of_a_holder_that_died_is_taken_over_after_three_time_outs"
        " an_update_replaces_the_version_it_knows"
    ),
    "S3 Express: sessions": express(
        "all_operations_go_in_one_session a_session_is_renewed_before_it_ends"
        " stores_share_a_session_and_many_requests_make_one a_session_that_is_refused_says_why"
    ),
    "S3 Express: copies, listings, signed URLs": express(
        "copies_are_signed_with_the_stores_own_keys an_offset_of_a_listing_is_kept_here"
        " urls_are_signed_with_the_stores_own_keys"
    ),
    "S3 Express: hosts": express(
        "the_host_is_that_of_the_zone the_zone_is_what_stands_before_the_suffix a_bucket_has_to_name_its_zone"
    ),
    "credential providers": [
        *at(
            "python/test_credentials",
            "a_provider_works_in_sync_and_async_calls one_refresh_serves_all_that_wait any_time_zone_will_do"
            " the_provider_says_how_early_it_wants_to_be_asked_again",
        ),
        *at(
            "python/test_providers",
            "whatever_can_be_called_can_be_a_provider"
            " 200_that_wait_in_threads_and_loops_are_served_by_one_call"
            " junk_is_one_clear_error_for_all_and_the_next_answer_may_be_good"
            " one_that_hangs_is_one_error_in_time_and_holds_up_nobody_else no_secret_of_a_provider_gets_out",
        ),
        *gateway("tokens", "a_provider_gives_keys_with_tokens"),
    ],
    "auth.boto3": at(
        "python/test_auth",
        "the_arguments_are_obstores a_session_of_boto3_gives_what_it_gives_obstore"
        " a_role_gives_what_it_gives_obstore a_session_without_credentials_is_refused_at_once",
    ),
    "auth.earthdata": at(
        "python/test_auth",
        "the_arguments_of_earthdata_are_obstores a_login_gives_what_it_gives_obstore"
        " a_login_that_fails_says_why_and_shows_nothing",
    ),
    "multipart uploads": [
        *faults("uploads", "a_part_that_fails_is_sent_again a_complete_that_fails_aborts_the_upload"),
        *gateway("writes", "a_large_put_goes_up_in_parts"),
    ],
}

OTHERS = {
    "obspec's protocols under mypy and pyright": contract(
        "typing",
        "mypy_finds_the_mistakes_of_a_program_and_no_others"
        " pyright_finds_the_mistakes_of_a_program_and_no_others",
    ),
    "obspec maps our exceptions": contract(
        "errors", "obspec_maps_our_exceptions_to_its_own a_generic_check_with_obspec_works_on_a_store"
    ),
    "async-tiff": contract(
        "async_tiff",
        "every_tile_is_that_of_the_array many_tiles_come_in_one_call_and_near_ones_in_one_request"
        " a_file_smaller_than_the_first_read_is_opened its_own_store_made_from_ours_reads_what_ours_does",
    ),
    "coroutines made where no loop runs": at("python/test_async", "keywords_only_as_async_tiff_calls"),
    "obstore's own tests": contract(
        "obstore_suite", "every_test_passes_or_deviates_for_a_reason every_deviation_names_a_test"
    ),
}

SECTIONS = {
    "options": KEYS,
    "public": PUBLIC,
    "construction": CONSTRUCTION,
    "retries": RETRIES,
    "behaviour": BEHAVIOUR,
    "exceptions": EXCEPTIONS,
    "wire": WIRE,
    "others": OTHERS,
}
ROWS = [
    pytest.param(tests, id=f"{name}-{row}") for name, part in SECTIONS.items() for row, tests in part.items()
]


@pytest.mark.parametrize("tests", ROWS)
def test_what_is_promised_has_tests_that_are_there(tests):
    assert tests, "under construction, or without a test"
    assert missing(tests) == []


def test_every_option_has_a_row():
    assert list(KEYS) == sorted(KEYS, key=[option.name for option in OPTIONS].index)
    assert set(KEYS) == {option.name for option in OPTIONS}


def test_every_public_name_has_a_row():
    methods = {name for name in dir(store.S3Store) if not name.startswith("_")}
    names = {*s3ext.__all__, *store.__all__, *methods}
    assert {name.removesuffix("_async") for name in names} == set(PUBLIC)


def test_every_exception_is_in_a_test_of_the_tree():
    """The tests of exceptions take their names from the tree itself."""
    assert len(exceptions.__all__) > 12
    assert all(issubclass(getattr(exceptions, name), Exception) for name in exceptions.__all__)
