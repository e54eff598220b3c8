"""pure/retry: the classes of answers, their outcomes, the waits and the budget."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import CSRC, load

ffi, lib = load(
    "retry",
    ["pure/retry.c"],
    """
    struct s3_str { const char *data; size_t size; };
    enum s3_retry_class {
        S3I_RETRY_NEVER, S3I_RETRY_THROTTLE, S3I_RETRY_SERVER, S3I_RETRY_CONNECT, S3I_RETRY_TRANSPORT,
        S3I_RETRY_ONCE, S3I_RETRY_CREDENTIALS, S3I_RETRY_NEWER_KEYS, S3I_RETRY_CLOCK, S3I_RETRY_REGION, ...
    };
    enum s3_retry_class s3i_retry_answer(int http_status, struct s3_str s3_code);
    int s3i_retry_outcome(int http_status, struct s3_str s3_code);
    const char *s3i_error_name(int code);
    struct s3_retry_config {
        uint32_t max_retries;
        int64_t retry_timeout_ms, init_backoff_ms, max_backoff_ms;
        double base;
        bool init_backoff_set;
    };
    void s3i_retry_defaults(struct s3_retry_config *config);
    int64_t s3i_retry_delay_ms(const struct s3_retry_config *config, enum s3_retry_class class,
                               uint32_t retry, double uniform, int64_t retry_after_ms);
    struct s3_retry_budget { int32_t tokens; };
    void s3i_retry_budget_init(struct s3_retry_budget *budget);
    int32_t s3i_retry_budget_take(struct s3_retry_budget *budget, enum s3_retry_class class);
    void s3i_retry_budget_give(struct s3_retry_budget *budget, int32_t taken);
    """,
)

CLASSES = [
    *("NEVER", "THROTTLE", "SERVER", "CONNECT", "TRANSPORT"),
    *("ONCE", "CREDENTIALS", "NEWER_KEYS", "CLOCK", "REGION"),
]
ALMOST_ONE = 1 - 2**-53

THROTTLE_CODES = [
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "PriorRequestNotComplete",
    "ServiceUnavailable",
    "Busy",
    "XMinioServerNotInitialized",
]
"""The codes that AWS SDKs, object_store, minio-go and s5cmd take for a call to slow down."""


def text(value):
    data = ffi.from_buffer(value.encode())
    return ffi.new("struct s3_str *", (ffi.cast("const char *", data), len(value))), data


def answer(status, code=""):
    string, _keep = text(code)
    return CLASSES[lib.s3i_retry_answer(status, string[0])]


def outcome(status, code=""):
    string, _keep = text(code)
    return ffi.string(lib.s3i_error_name(lib.s3i_retry_outcome(status, string[0]))).decode()


def test_the_classes_are_numbered_as_the_header_says():
    assert [getattr(lib, f"S3I_RETRY_{name}") for name in CLASSES] == list(range(len(CLASSES)))


@pytest.mark.parametrize("code", THROTTLE_CODES)
@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_throttling_codes_throttle_at_any_status(status, code):
    assert answer(status, code) == "THROTTLE"
    assert outcome(status, code) == "THROTTLED"


@pytest.mark.parametrize("status", [429, 503, 509])
@pytest.mark.parametrize("code", ["", "InternalError", "<html>", "RequestTimeout", "AccessDenied"])
def test_throttling_statuses_throttle_whatever_the_body_says(status, code):
    assert answer(status, code) == "THROTTLE"
    assert outcome(status, code) == "THROTTLED"


@pytest.mark.parametrize(
    ("status", "code", "expected", "ends_in"),
    [
        (200, "", "NEVER", "GENERIC"),
        (204, "", "NEVER", "GENERIC"),
        (500, "", "SERVER", "SERVER"),
        (500, "InternalError", "SERVER", "SERVER"),
        (502, "", "SERVER", "SERVER"),
        (504, "", "SERVER", "SERVER"),
        (520, "", "SERVER", "SERVER"),
        (524, "", "SERVER", "SERVER"),
        (499, "", "SERVER", "SERVER"),
        (501, "NotImplemented", "NEVER", "GENERIC"),
        (501, "", "NEVER", "GENERIC"),
        (505, "", "NEVER", "GENERIC"),
        (408, "", "SERVER", "TIMEOUT"),
        (400, "RequestTimeout", "SERVER", "TIMEOUT"),
        (409, "OperationAborted", "SERVER", "ALREADY_EXISTS"),
        (409, "ConditionalRequestConflict", "SERVER", "ALREADY_EXISTS"),
        (409, "BucketAlreadyExists", "NEVER", "ALREADY_EXISTS"),
        (403, "ExpiredToken", "CREDENTIALS", "PERMISSION_DENIED"),
        (400, "ExpiredToken", "CREDENTIALS", "UNAUTHENTICATED"),
        (400, "ExpiredTokenException", "CREDENTIALS", "UNAUTHENTICATED"),
        (400, "TokenRefreshRequired", "CREDENTIALS", "UNAUTHENTICATED"),
        (403, "TokenRefreshRequired", "CREDENTIALS", "PERMISSION_DENIED"),
        (400, "InvalidToken", "CREDENTIALS", "UNAUTHENTICATED"),
        (403, "InvalidToken", "CREDENTIALS", "PERMISSION_DENIED"),
        (403, "RequestTimeTooSkewed", "CLOCK", "PERMISSION_DENIED"),
        (400, "RequestExpired", "CLOCK", "GENERIC"),
        (400, "AuthorizationHeaderMalformed", "REGION", "REGION"),
        (301, "PermanentRedirect", "REGION", "REGION"),
        (301, "", "REGION", "REGION"),
        (302, "", "REGION", "REGION"),
        (307, "TemporaryRedirect", "REGION", "REGION"),
        (308, "", "REGION", "REGION"),
        (400, "IllegalLocationConstraintException", "REGION", "REGION"),
        (304, "", "NEVER", "NOT_MODIFIED"),
        (401, "", "NEVER", "UNAUTHENTICATED"),
        (403, "", "NEWER_KEYS", "PERMISSION_DENIED"),
        (403, "AccessDenied", "NEWER_KEYS", "PERMISSION_DENIED"),
        (403, "InvalidAccessKeyId", "NEWER_KEYS", "PERMISSION_DENIED"),
        (403, "SignatureDoesNotMatch", "NEWER_KEYS", "PERMISSION_DENIED"),
        (404, "", "NEVER", "NOT_FOUND"),
        (404, "NoSuchKey", "NEVER", "NOT_FOUND"),
        (404, "NoSuchBucket", "NEVER", "NOT_FOUND"),
        (412, "PreconditionFailed", "NEVER", "PRECONDITION"),
        (400, "", "NEVER", "GENERIC"),
        (400, "BadDigest", "ONCE", "GENERIC"),
        (400, "XAmzContentSHA256Mismatch", "ONCE", "GENERIC"),
        (405, "MethodNotAllowed", "NEVER", "GENERIC"),
        (411, "", "NEVER", "GENERIC"),
        (416, "InvalidRange", "NEVER", "GENERIC"),
        (0, "", "NEVER", "GENERIC"),
        (-1, "", "NEVER", "GENERIC"),
        (600, "", "NEVER", "GENERIC"),
    ],
)
def test_answers_and_what_they_end_in(status, code, expected, ends_in):
    assert answer(status, code) == expected
    assert outcome(status, code) == ends_in


@pytest.mark.parametrize(
    ("code", "expected", "ends_in"),
    [
        ("InternalError", "SERVER", "SERVER"),
        ("SlowDown", "THROTTLE", "THROTTLED"),
        ("RequestTimeout", "SERVER", "TIMEOUT"),
        ("AccessDenied", "NEWER_KEYS", "PERMISSION_DENIED"),
        ("BadDigest", "ONCE", "GENERIC"),
        ("NoSuchKey", "NEVER", "NOT_FOUND"),
        ("NoSuchUpload", "NEVER", "NOT_FOUND"),
        ("PreconditionFailed", "NEVER", "PRECONDITION"),
        ("ExpiredToken", "CREDENTIALS", "UNAUTHENTICATED"),
        ("OperationAborted", "SERVER", "ALREADY_EXISTS"),
        ("SomethingNew", "NEVER", "GENERIC"),
    ],
)
def test_an_error_inside_a_200_answer_is_judged_by_its_code(code, expected, ends_in):
    assert answer(200, code) == expected
    assert outcome(200, code) == ends_in


@given(st.integers(500, 599).filter(lambda status: status not in {501, 503, 505, 509}))
def test_every_other_5xx_is_the_servers_failure(status):
    assert answer(status) == "SERVER"


def test_no_code_stands_twice_in_the_table():
    codes = re.findall(r'\{"(\w+)", S3I_RETRY_', (CSRC / "pure/retry.c").read_text())
    assert len(codes) > 30
    assert len(set(codes)) == len(codes)


@given(st.integers(-1000, 1000), st.text(max_size=20))
def test_a_failure_never_ends_in_success(status, code):
    data = code.encode()
    kept = ffi.from_buffer(data)
    string = ffi.new("struct s3_str *", (ffi.cast("const char *", kept), len(data)))[0]
    assert lib.s3i_retry_outcome(status, string) < 0
    assert lib.s3i_retry_answer(status, string) in range(len(CLASSES))


def config(**changes):
    made = ffi.new("struct s3_retry_config *")
    lib.s3i_retry_defaults(made)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def delay(made, class_name, retry, uniform, retry_after=-1):
    return lib.s3i_retry_delay_ms(made, CLASSES.index(class_name), retry, uniform, retry_after)


def test_the_defaults_are_those_of_the_contract():
    made = config()
    assert (made.max_retries, made.retry_timeout_ms) == (10, 180_000)
    assert (made.init_backoff_ms, made.max_backoff_ms, made.base) == (100, 15_000, 2.0)
    assert not made.init_backoff_set


def test_the_longest_wait_doubles_up_to_the_maximum():
    longest = [delay(config(), "SERVER", retry, ALMOST_ONE) for retry in range(10)]
    assert longest == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000]
    assert [delay(config(), "SERVER", retry, 0.0) for retry in range(10)] == [0] * 10


def test_a_throttle_counts_from_a_second_unless_the_user_chose():
    assert delay(config(), "THROTTLE", 0, ALMOST_ONE) == 1000
    assert delay(config(), "THROTTLE", 2, ALMOST_ONE) == 4000
    assert delay(config(init_backoff_ms=2500), "THROTTLE", 0, ALMOST_ONE) == 2500
    assert delay(config(init_backoff_ms=7, init_backoff_set=True), "THROTTLE", 0, ALMOST_ONE) == 7
    assert delay(config(max_backoff_ms=300), "THROTTLE", 0, ALMOST_ONE) == 300


def test_a_retry_after_is_a_lower_bound():
    assert delay(config(), "THROTTLE", 0, 0.0, 2000) == 2000
    assert delay(config(), "THROTTLE", 0, 0.0, 0) == 0
    assert delay(config(), "THROTTLE", 5, ALMOST_ONE, 2000) == 15_000
    assert delay(config(), "THROTTLE", 5, ALMOST_ONE, 60_000) == 60_000


def test_an_init_backoff_of_zero_never_waits():
    made = config(init_backoff_ms=0)
    assert delay(made, "SERVER", 4_000_000_000, ALMOST_ONE) == 0


@given(
    st.sampled_from(CLASSES),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.floats(1, 1e300, exclude_min=True),
    st.booleans(),
    st.one_of(st.just(-1), st.integers(0, 60_000)),
)
def test_a_wait_lies_between_retry_after_and_the_limit(
    class_name, retry, uniform, init, most, base, chosen, after
):
    made = config(init_backoff_ms=init, max_backoff_ms=most, base=base, init_backoff_set=chosen)
    first = max(init, 1000) if class_name == "THROTTLE" and not chosen else init
    try:
        limit = min(float(most), first * base**retry) if first else 0.0
    except OverflowError:
        limit = float(most)
    wait = delay(made, class_name, retry, uniform, after)
    assert wait >= max(after, 0)
    # A double has 53 bits: products of other lengths round in their last places.
    assert wait <= max(after, limit * (1 + 1e-6) + 1, 0)
    assert wait <= max(after, most)


def test_the_jitter_is_spread_over_the_whole_interval():
    waits = [delay(config(), "SERVER", 3, number / 1000) for number in range(1000)]
    assert waits == sorted(waits)
    assert waits[0] == 0
    assert waits[-1] >= 799
    assert abs(waits[500] - 400) <= 1


def budget():
    made = ffi.new("struct s3_retry_budget *")
    lib.s3i_retry_budget_init(made)
    return made


@pytest.mark.parametrize(
    ("class_name", "cost"),
    [("SERVER", 5), ("THROTTLE", 5), ("ONCE", 5), ("TRANSPORT", 10)],
)
def test_the_budget_lasts_for_its_capacity_and_then_gives_nothing(class_name, cost):
    made = budget()
    taken = [lib.s3i_retry_budget_take(made, CLASSES.index(class_name)) for _ in range(500 // cost + 5)]
    assert taken == [cost] * (500 // cost) + [-1] * 5
    assert made.tokens == 0


@pytest.mark.parametrize("class_name", ["NEVER", "CONNECT", "CREDENTIALS", "NEWER_KEYS", "CLOCK", "REGION"])
def test_classes_that_are_not_counted_take_nothing(class_name):
    made = budget()
    assert lib.s3i_retry_budget_take(made, CLASSES.index(class_name)) == 0
    assert made.tokens == 500
    made.tokens = 0
    assert lib.s3i_retry_budget_take(made, CLASSES.index(class_name)) == 0


def test_a_success_gives_back_what_was_taken_or_one():
    made = budget()
    for _ in range(10):
        lib.s3i_retry_budget_take(made, CLASSES.index("TRANSPORT"))
    lib.s3i_retry_budget_give(made, 10)
    assert made.tokens == 410
    lib.s3i_retry_budget_give(made, 0)
    assert made.tokens == 411
    for _ in range(200):
        lib.s3i_retry_budget_give(made, 5)
    assert made.tokens == 500


@given(st.lists(st.one_of(st.sampled_from(CLASSES), st.integers(-5, 10)), max_size=300))
def test_the_budget_is_never_negative_nor_above_its_capacity(history):
    made = budget()
    for step in history:
        before = made.tokens
        if isinstance(step, str):
            taken = lib.s3i_retry_budget_take(made, CLASSES.index(step))
            assert before - made.tokens == max(taken, 0)
            assert taken >= 0 or before < 10
        else:
            lib.s3i_retry_budget_give(made, step)
        assert 0 <= made.tokens <= 500
