#include "common/net/zap_request.h"
#include "tests/support/net.h"

#include "tests/support/cmocka.h"

static void the_self_test_passes_where_strangers_are_refused_and_leaves_no_trace_in_the_counters(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_why why = {{0}};
    test_net_start(&t, 1, 1024);
    if (weir_zap_self_test(t.zap, TEST_NET_WAIT_MS, &why) < 0) fail_msg("%s", why.text);
    for (int verdict = 0; verdict < WEIR_ZAP_VERDICTS; verdict++)
        assert_int_equal(weir_zap_count(t.zap, verdict), 0);
    test_net_stop(&t);
}

static void there_is_one_handler_and_it_needs_rules(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_why why;
    struct weir_zap *second = NULL;
    struct weir_net *net;
    const struct weir_zap_rule rule = {"agents", WEIR_ROLE_AGENT};
    test_net_start(&t, 0, 1024);
    assert_int_equal(weir_zap_start(t.net, &rule, 1, t.allow, &second, &why), WEIR_EEXIST);
    assert_int_equal(weir_net_create(1, &net), 0);
    assert_int_equal(weir_zap_start(net, &rule, 0, t.allow, &second, &why), WEIR_EPARAM);
    assert_null(second);
    weir_net_destroy(net);
    test_net_stop(&t);
}

/** A sound request of key 1 (all bytes 1) for domain "agents"; tests bend it. */
struct frames {
    struct weir_view view[WEIR_ZAP_REQUEST_FRAMES + 1];
    uint32_t count;
};

static const uint8_t key_1[WEIR_CURVE_KEY_BYTES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static struct frames sound(void)
{
    return (struct frames){.count = WEIR_ZAP_REQUEST_FRAMES,
                           .view = {weir_view_text("1.0"), weir_view_text("17"), weir_view_text("agents"),
                                    weir_view_text("192.0.2.1"), weir_view_text(""), weir_view_text("CURVE"),
                                    weir_view_of(key_1, sizeof key_1), weir_view_text("more")}};
}

static void a_sound_request_is_read_and_judged_by_key_and_role(void **state)
{
    (void)state;
    static const struct weir_zap_rule rules[] = {{"agents", WEIR_ROLE_AGENT}, {"ask", WEIR_ROLE_CONSOLE}};
    struct weir_zap_request request;
    struct frames frames = sound();
    assert_int_equal(weir_zap_request_read(frames.view, frames.count, &request), 0);
    assert_string_equal(request.domain, "agents");
    assert_string_equal(request.address, "192.0.2.1");
    assert_true(weir_view_equal(request.id, weir_view_text("17")));
    assert_true(weir_key_is_valid(request.key));

    struct weir_allow *allow;
    const struct weir_allow_entry *who = NULL;
    assert_int_equal(weir_allow_create(&allow), 0);
    assert_int_equal(weir_zap_judge(&request, rules, 2, allow, &who), WEIR_ZAP_UNKNOWN_KEY);
    struct weir_allow_entry entry = {.name = "agent-1", .role = WEIR_ROLE_AGENT, .tenant = "acme"};
    memcpy(entry.key, request.key, sizeof entry.key);
    assert_int_equal(weir_allow_add(allow, &entry, NULL), 0);
    assert_int_equal(weir_zap_judge(&request, rules, 2, allow, &who), WEIR_ZAP_ACCEPTED);
    assert_string_equal(who->name, "agent-1");
    strcpy(request.domain, "ask");
    assert_int_equal(weir_zap_judge(&request, rules, 2, allow, &who), WEIR_ZAP_WRONG_ROLE);
    strcpy(request.domain, "agent");
    assert_int_equal(weir_zap_judge(&request, rules, 2, allow, &who), WEIR_ZAP_MALFORMED);
    weir_allow_destroy(allow);
}

static void a_request_that_is_not_sound_is_refused(void **state)
{
    (void)state;
    struct weir_zap_request request;
    struct frames frames;
    static const uint8_t many[300];
#define REFUSED(change, code)                                                                 \
    do {                                                                                      \
        frames = sound();                                                                     \
        change;                                                                               \
        assert_int_equal(weir_zap_request_read(frames.view, frames.count, &request), (code)); \
    } while (0)
    REFUSED(frames.count = 6, WEIR_ESHORT);
    REFUSED(frames.count = 0, WEIR_ESHORT);
    REFUSED(frames.count = 8, WEIR_EFORMAT);
    REFUSED(frames.view[0] = weir_view_text("2.0"), WEIR_EVERSION);
    REFUSED(frames.view[1] = weir_view_of(many, 256), WEIR_EFORMAT);
    REFUSED(frames.view[5] = weir_view_text("NULL"), WEIR_EUNSUPPORTED);
    REFUSED(frames.view[5] = weir_view_text("PLAIN"), WEIR_EUNSUPPORTED);
    REFUSED(frames.view[6] = weir_view_of(key_1, 31), WEIR_EFORMAT);
    REFUSED(frames.view[6] = weir_view_of(many, 40), WEIR_EFORMAT);
#undef REFUSED
    frames = sound();
    frames.view[2] = weir_view_of(many, sizeof many);
    assert_int_equal(weir_zap_request_read(frames.view, frames.count, &request), 0);
    assert_string_equal(request.domain, "");
    frames.view[3] = weir_view_text("a\nb c");
    assert_int_equal(weir_zap_request_read(frames.view, frames.count, &request), 0);
    assert_string_equal(request.address, "a?b?c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_self_test_passes_where_strangers_are_refused_and_leaves_no_trace_in_the_counters),
        cmocka_unit_test(there_is_one_handler_and_it_needs_rules),
        cmocka_unit_test(a_sound_request_is_read_and_judged_by_key_and_role),
        cmocka_unit_test(a_request_that_is_not_sound_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
