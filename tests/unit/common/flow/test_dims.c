#include "common/base/err.h"
#include "common/flow/dims.h"
#include "common/flow/orient.h"

#include "tests/support/cmocka.h"

#include <string.h>

static struct weir_ip ip_of(const char *text)
{
    struct weir_ip ip;
    assert_int_equal(weir_ip_parse(text, &ip), 0);
    return ip;
}

static void names_and_numbers_name_one_dimension_each(void **state)
{
    (void)state;
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        assert_int_equal(weir_dim_of_name(weir_dims[dim].name), dim);
        assert_int_equal(weir_dim_of_number(weir_dims[dim].number), dim);
        if (weir_dims[dim].origin == WEIR_DIM_FIELD) {
            assert_int_equal(weir_dims[dim].fields, 1ull << weir_dims[dim].field);
            assert_int_equal(weir_dims[dim].width,
                             weir_dims[dim].type == WEIR_DIM_TYPE_MAC ? 6 : weir_fields[weir_dims[dim].field].width);
        }
    }
    assert_int_equal(weir_dim_of_name("SRC_IP"), WEIR_DIM_src_ip);
    assert_int_equal(weir_dim_of_name("src"), WEIR_ENOTFOUND);
    assert_int_equal(weir_dim_of_number(0), WEIR_ENOTFOUND);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const struct {
        enum weir_dim dim;
        uint64_t number;
        const char *text;
    } cases[] = {
        {WEIR_DIM_proto, 6, "tcp"},
        {WEIR_DIM_proto, 200, "200"},
        {WEIR_DIM_src_port, 443, "443"},
        {WEIR_DIM_tcp_flags, 0x12, "...A..S."},
        {WEIR_DIM_tcp_flags, 0x100, "0x100"},
        {WEIR_DIM_dir, 1, "egress"},
        {WEIR_DIM_action, 2, "reject"},
        {WEIR_DIM_protocol, 10, "ipfix"},
        {WEIR_DIM_protocol, 105, "sflow5"},
        {WEIR_DIM_service, 6 << 16 | 443, "https"},
        {WEIR_DIM_service, 6 << 16 | 50000, "tcp/50000"},
        {WEIR_DIM_service, 200 << 16, "200/0"},
        {WEIR_DIM_src_mac, 0x0a1b2c3d4e5full, "0a:1b:2c:3d:4e:5f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        union weir_value value = {.bytes = {0}};
        value.number = cases[i].number;
        char text[WEIR_DIM_TEXT];
        assert_string_equal(weir_dim_format(cases[i].dim, &value, text), cases[i].text);
        union weir_value read;
        assert_int_equal(weir_dim_parse(cases[i].dim, text, &read), 0);
        assert_memory_equal(&read, &value, sizeof value);
    }
    union weir_value value;
    assert_int_equal(weir_dim_parse(WEIR_DIM_src_port, "65536", &value), WEIR_EPARAM);
    assert_int_equal(weir_dim_parse(WEIR_DIM_src_port, "443x", &value), WEIR_EFORMAT);
    assert_int_equal(weir_dim_parse(WEIR_DIM_src_port, "", &value), WEIR_EFORMAT);
    assert_int_equal(weir_dim_parse(WEIR_DIM_src_port, "99999999999999999999999", &value), WEIR_EPARAM);
    assert_int_equal(weir_dim_parse(WEIR_DIM_site, "fra", &value), WEIR_EUNSUPPORTED);
    assert_int_equal(weir_dim_parse(WEIR_DIM_src_ip, "10.0.0", &value), WEIR_EFORMAT);
}

static void rows_of_a_batch_and_single_flows_have_the_same_values(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(8, &batch), 0);
    struct weir_flow flows[4] = {
        {.src_ip = ip_of("10.0.0.1"),
         .dst_ip = ip_of("10.0.0.2"),
         .src_port = 40000,
         .dst_port = 443,
         .proto = 6,
         .tcp_flags = 0x1b,
         .vlan_in = 7,
         .forwarding_status = 0x80},
        {.src_ip = ip_of("2001:db8::1"), .dst_ip = ip_of("2001:db8::2"), .src_port = 53, .dst_port = 5353, .proto = 17},
        {.src_ip = ip_of("10.0.0.9"),
         .dst_ip = ip_of("10.0.0.2"),
         .dst_port = 0x0800,
         .proto = 1,
         .src_mac = 0xffeeddccbbaaull},
        {.src_ip = ip_of("2001:db8::2"), .dst_ip = ip_of("2001:db8::1"), .icmp_type_code = 129 << 8, .proto = 58},
    };
    for (int i = 0; i < 4; i++)
        assert_int_equal(weir_batch_append(batch, &flows[i]), 0);
    struct weir_where where = {.source = {.exporter = ip_of("192.0.2.1"), .domain = 9},
                               .protocol = WEIR_PROTOCOL_IPFIX,
                               .site = "fra",
                               .site_number = 3};
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        if (weir_dims[dim].origin == WEIR_DIM_EITHER) continue;
        union weir_value rows[4];
        memset(rows, 0xee, sizeof rows);
        weir_dim_of_rows(dim, batch, &where, 0, 4, rows);
        for (int i = 0; i < 4; i++) {
            union weir_value values[2];
            memset(values, 0xee, sizeof values);
            assert_int_equal(weir_dim_of_flow(dim, &flows[i], &where, values), 1);
            assert_memory_equal(&values[0], &rows[i], sizeof rows[i]);
        }
    }
    union weir_value values[2];
    assert_int_equal(weir_dim_of_flow(WEIR_DIM_ip, &flows[0], &where, values), 2);
    assert_true(weir_ip_equal(&values[1].ip, &flows[0].dst_ip));
    struct weir_flow loop = {.src_port = 123, .dst_port = 123};
    assert_int_equal(weir_dim_of_flow(WEIR_DIM_port, &loop, &where, values), 1);
    weir_batch_destroy(batch);
}

static void both_directions_of_a_conversation_have_one_server(void **state)
{
    (void)state;
    static const struct {
        uint8_t proto;
        uint16_t client_port;
        uint16_t server_port;
        uint16_t client_flags;
        uint16_t server_flags;
    } cases[] = {
        {6, 51000, 443, 0x1b, 0x1b},   /* a known port below */
        {6, 1024, 5432, 0x1b, 0x1b},   /* a known port above an unknown one */
        {6, 40000, 50000, 0x02, 0x14}, /* a refused connection: flags decide against the lower port */
        {17, 40000, 3000, 0, 0},       /* nothing known: the lower port */
        {17, 40000, 53, 0, 0},
    };
    struct weir_ip client = ip_of("10.0.0.1");
    struct weir_ip server = ip_of("10.0.0.2");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_oriented there = weir_orient(&client, &server, cases[i].client_port, cases[i].server_port,
                                                 cases[i].proto, cases[i].client_flags, 0);
        struct weir_oriented back = weir_orient(&server, &client, cases[i].server_port, cases[i].client_port,
                                                cases[i].proto, cases[i].server_flags, 0);
        assert_false(there.src_is_server);
        assert_true(back.src_is_server);
        assert_int_equal(weir_server_port(there, cases[i].proto, cases[i].client_port, cases[i].server_port),
                         cases[i].server_port);
        assert_int_equal(weir_client_port(back, cases[i].proto, cases[i].server_port, cases[i].client_port),
                         cases[i].client_port);
    }
    /* Equal ports and no ports: one and the same side in both directions. */
    assert_int_not_equal(weir_orient(&client, &server, 123, 123, 17, 0, 0).src_is_server,
                         weir_orient(&server, &client, 123, 123, 17, 0, 0).src_is_server);
    assert_int_not_equal(weir_orient(&client, &server, 0, 0, 47, 0, 0).src_is_server,
                         weir_orient(&server, &client, 0, 0, 47, 0, 0).src_is_server);
    /* Who pings is the client, whether the type comes in its own element or in the port. */
    assert_false(weir_orient(&client, &server, 0, 0x0800, 1, 0, 0).src_is_server);
    assert_true(weir_orient(&server, &client, 0, 0, 1, 0, 0).src_is_server);
    assert_false(weir_orient(&client, &server, 0, 0, 58, 0, 128 << 8).src_is_server);
    assert_true(weir_orient(&server, &client, 0, 0, 58, 0, 129 << 8).src_is_server);
}

static void a_port_is_a_service_where_the_table_has_it_and_nowhere_else(void **state)
{
    (void)state;
    for (uint32_t port = 0; port < 65536; port++) {
        for (uint8_t proto = 0; proto < 140; proto++) {
            bool named = weir_service_name(weir_service_of(proto, (uint16_t)port)) != NULL;
            if (weir_port_is_service(proto, (uint16_t)port) != named) fail_msg("%u/%u", proto, port);
        }
    }
}

static void proto_and_server_port_are_the_service(void **state)
{
    (void)state;
    uint64_t pair = WEIR_DIM_BIT(WEIR_DIM_proto) | WEIR_DIM_BIT(WEIR_DIM_server_port);
    assert_int_equal(weir_dims_close(WEIR_DIM_BIT(WEIR_DIM_service)), pair | WEIR_DIM_BIT(WEIR_DIM_service));
    assert_int_equal(weir_dims_close(pair), pair | WEIR_DIM_BIT(WEIR_DIM_service));
    assert_int_equal(weir_dims_close(WEIR_DIM_BIT(WEIR_DIM_proto)), WEIR_DIM_BIT(WEIR_DIM_proto));
    assert_int_equal(weir_dims_fields(WEIR_DIM_BIT(WEIR_DIM_ip)),
                     1ull << WEIR_FIELD_src_ip | 1ull << WEIR_FIELD_dst_ip);
    assert_int_equal(weir_service_of_name("HTTPS"), 6 << 16 | 443);
    assert_int_equal(weir_service_of_name("no-such"), WEIR_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_name_one_dimension_each),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(rows_of_a_batch_and_single_flows_have_the_same_values),
        cmocka_unit_test(both_directions_of_a_conversation_have_one_server),
        cmocka_unit_test(a_port_is_a_service_where_the_table_has_it_and_nowhere_else),
        cmocka_unit_test(proto_and_server_port_are_the_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
