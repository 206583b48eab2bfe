#include "console/http/problem.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int status;
    const char *type;
    const char *title;
} problems[CONSOLE_PROBLEM_KINDS] = {[CONSOLE_NO_PROBLEM] = {200, "about:blank", "OK"},
#define PROBLEM_ROW(id, code, name, text) [CONSOLE_PROBLEM_##id] = {code, name, text},
                                     CONSOLE_PROBLEMS(PROBLEM_ROW)
#undef PROBLEM_ROW
};

bool console_fault_set(struct console_fault *fault, enum console_problem kind, const char *pointer, const char *format,
                       ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fault->detail, sizeof fault->detail, format, args);
    va_end(args);
    snprintf(fault->pointer, sizeof fault->pointer, "%s", pointer);
    fault->kind = kind;
    fault->in_filter = false;
    return false;
}

bool console_fault_set_filter(struct console_fault *fault, const struct weir_filter_error *error)
{
    console_fault_set(fault, CONSOLE_PROBLEM_FILTER_SYNTAX, "#/filter", "%s at column %u", error->message,
                      error->column);
    fault->in_filter = true;
    fault->filter_error = *error;
    return false;
}

void console_filter_error_json(const struct weir_filter_error *error, struct json_writer *json)
{
    jsonw_begin_object(json);
    jsonw_key_text(json, "pointer", "#/filter");
    jsonw_key_u64(json, "column", error->column);
    jsonw_key_u64(json, "length", error->length);
    jsonw_key_text(json, "message", error->message);
    jsonw_key(json, "expected");
    jsonw_begin_array(json);
    for (uint32_t i = 0; i < error->expected_count; i++)
        jsonw_text(json, error->expected[i]);
    jsonw_end_array(json);
    if (error->suggestion[0] != '\0') jsonw_key_text(json, "suggest", error->suggestion);
    jsonw_end_object(json);
}

void console_problem_reply(const struct console_fault *fault, const char *instance, struct weir_http_reply *reply)
{
    char type[80];
    snprintf(type, sizeof type, "https://weir.invalid/problems/%s", problems[fault->kind].type);
    weir_buf_clear(&reply->body);
    reply->status = problems[fault->kind].status;
    reply->type = "application/problem+json";
    if (reply->status == 401) weir_http_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"weir\"");

    struct json_writer json = json_writer_of(&reply->body);
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "type", type);
    jsonw_key_text(&json, "title", problems[fault->kind].title);
    jsonw_key_u64(&json, "status", (uint64_t)reply->status);
    jsonw_key_text(&json, "detail", fault->detail);
    jsonw_key_text(&json, "instance", instance);
    if (fault->pointer[0] != '\0') {
        jsonw_key(&json, "errors");
        jsonw_begin_array(&json);
        if (fault->in_filter) {
            console_filter_error_json(&fault->filter_error, &json);
        } else {
            jsonw_begin_object(&json);
            jsonw_key_text(&json, "pointer", fault->pointer);
            jsonw_key_text(&json, "message", fault->detail);
            jsonw_end_object(&json);
        }
        jsonw_end_array(&json);
    }
    jsonw_end_object(&json);
    weir_buf_u8(&reply->body, '\n');
}
