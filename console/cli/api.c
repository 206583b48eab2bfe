#include "console/cli/api.h"

#include "common/base/mem.h"
#include "common/flow/filter.h"
#include "common/flow/timerange.h"
#include "console/cli/conf.h"
#include "console/cli/output.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MOST = 256 << 20, TOKEN_MOST = 256, TIMEOUT_MS = 30000 };

#define WEIR_OPTIONS        "console/cli/conf_options.def"
#define WEIR_OPTIONS_STRUCT cli_conf
#include "common/conf/option_rows.h"

/** Where to ask, as whom and for how long. */
struct place {
    char url[1024];
    char token[TOKEN_MOST];
    long timeout_ms;
};

/** The file's options; without a file its defaults. */
static int load_conf(struct cli_conf *conf, struct weir_why *why)
{
    char path[4096];
    const char *home = getenv("XDG_CONFIG_HOME");
    if (home != NULL && home[0] != '\0') {
        snprintf(path, sizeof path, "%s/weir/cli.conf", home);
    } else {
        const char *user = getenv("HOME");
        snprintf(path, sizeof path, "%s/.config/weir/cli.conf", user == NULL ? "" : user);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_conf_load_text("", path, &cli_conf_schema, conf, why);
    fclose(file);
    return weir_conf_load(path, &cli_conf_schema, conf, why);
}

static int read_token(const char *path, char token[TOKEN_MOST], struct weir_why *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_why_set(why, WEIR_EIO, "token file %s: %s", path, strerror(errno));
    if (fgets(token, TOKEN_MOST, file) == NULL) token[0] = '\0';
    fclose(file);
    token[strcspn(token, " \t\r\n")] = '\0';
    return token[0] == '\0' ? weir_why_set(why, WEIR_EIO, "token file %s: is empty", path) : 0;
}

/** An option, else the environment, else the file. */
static const char *first_of(const char *option, const char *variable, const char *conf)
{
    if (option != NULL) return option;
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : conf;
}

static int find_place(const struct cli_args *args, struct place *ret, struct weir_why *why)
{
    struct cli_conf conf = {0};
    int rc = load_conf(&conf, why);
    if (rc < 0) return rc;
    snprintf(ret->url, sizeof ret->url, "%s", first_of(args->values[CLI_OPTION_url], "WEIR_URL", conf.url));
    const char *token_file = first_of(args->values[CLI_OPTION_token_file], "WEIR_TOKEN_FILE", conf.token_file);
    if (token_file[0] != '\0') rc = read_token(token_file, ret->token, why);
    weir_conf_free(&cli_conf_schema, &conf);
    if (rc < 0) return rc;

    for (size_t size = strlen(ret->url); size > 0 && ret->url[size - 1] == '/'; size--)
        ret->url[size - 1] = '\0';
    int64_t timeout_ms = TIMEOUT_MS;
    const char *timeout = args->values[CLI_OPTION_timeout];
    if (timeout != NULL &&
        (weir_conf_duration_parse(timeout, &timeout_ms) < 0 || timeout_ms <= 0 || timeout_ms > 3600000)) {
        return weir_why_set(why, WEIR_EPARAM, "--timeout: \"%s\" is not a duration of at most 1h", timeout);
    }
    ret->timeout_ms = (long)timeout_ms;
    return 0;
}

void cli_api_parameter(struct weir_buf *path, const char *name, const char *value)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    weir_buf_printf(path, "%c%s=", strchr(weir_buf_cstr(path), '?') == NULL ? '?' : '&', name);
    for (; *value != '\0'; value++)
        weir_buf_printf(path, strchr(unreserved, *value) != NULL ? "%c" : "%%%02X", (unsigned char)*value);
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct weir_buf *body = ctx;
    if (body->size + size * count > ANSWER_MOST) return 0;
    weir_buf_append(body, data, size * count);
    return body->failed ? 0 : size * count;
}

/** Headers of every request; NULL when memory runs out. */
static struct curl_slist *make_headers(const struct place *place, bool posts)
{
    char authorization[TOKEN_MOST + 32];
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (headers != NULL && posts) headers = curl_slist_append(headers, "Content-Type: application/json");
    if (headers != NULL && place->token[0] != '\0') {
        snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", place->token);
        headers = curl_slist_append(headers, authorization);
    }
    return headers;
}

/** Do the request. CURLE_OK: *status and @out are the answer's. */
static CURLcode transfer(const struct place *place, const char *url, const char *body, struct weir_buf *out,
                         long *status, char error[CURL_ERROR_SIZE])
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = make_headers(place, body != NULL);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl != NULL && headers != NULL) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, place->timeout_ms + 1000);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "weir/" WEIR_VERSION);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        if (body != NULL) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code;
}

/** A filter error of the API, as the filter's own parser would print it. */
static void tell_filter_error(const json_t *from, const char *filter)
{
    struct weir_filter_error error = {.column = (uint32_t)json_integer_value(json_object_get(from, "column")),
                                      .length = (uint32_t)json_integer_value(json_object_get(from, "length"))};
    snprintf(error.message, sizeof error.message, "%s", cli_text_of(from, "message"));
    snprintf(error.suggestion, sizeof error.suggestion, "%s", cli_text_of(from, "suggest"));
    size_t i;
    json_t *word;
    json_array_foreach(json_object_get(from, "expected"), i, word)
    {
        if (error.expected_count < WEIR_FILTER_EXPECTED_MOST && json_is_string(word)) {
            error.expected[error.expected_count++] = json_string_value(word);
        }
    }
    struct weir_buf out = WEIR_BUF_INIT;
    weir_filter_error_print(&error, filter, strlen(filter), &out);
    fflush(stdout);
    fprintf(stderr, "weir: %s", weir_buf_cstr(&out));
    weir_buf_fini(&out);
}

/** The exit status that a refusal means. */
static enum cli_exit exit_of(long status)
{
    switch (status) {
    case 401:
    case 403: return CLI_DENIED;
    case 400:
    case 404:
    case 415: return CLI_USAGE;
    case 408:
    case 413:
    case 422:
    case 429:
    case 504: return CLI_LIMIT;
    case 503: return CLI_PARTIAL;
    default: return CLI_INTERNAL;
    }
}

/** Tell an RFC 9457 problem. */
static enum cli_exit tell_problem(long status, const json_t *problem, const char *filter)
{
    const char *type = cli_text_of(problem, "type");
    const char *detail = cli_text_of(problem, "detail");
    const json_t *first = json_array_get(json_object_get(problem, "errors"), 0);
    size_t size = strlen(type);
    bool is_filter = size >= 13 && strcmp(type + size - 13, "filter-syntax") == 0;
    if (is_filter && first != NULL && filter != NULL) {
        tell_filter_error(first, filter);
        return CLI_USAGE;
    }
    if (cli_text_of(problem, "title")[0] == '\0') {
        return cli_fail(CLI_INTERNAL, "HTTP status %ld, and no problem of a console: is this its address?", status);
    }
    enum cli_exit exit_status = exit_of(status);
    if (exit_status == CLI_PARTIAL && size >= 9 && strcmp(type + size - 9, "not-ready") == 0)
        exit_status = CLI_UNREACHABLE;
    return cli_fail(exit_status, "%s%s%s", cli_text_of(problem, "title"), detail[0] == '\0' ? "" : ": ", detail);
}

enum cli_exit cli_api(const struct cli_args *args, const char *path, const json_t *body, const char *filter,
                      json_t **ret)
{
    struct place place = {.token = ""};
    struct weir_why why = {""};
    if (find_place(args, &place, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);

    struct weir_buf url = WEIR_BUF_INIT;
    weir_buf_printf(&url, "%s%s", place.url, path);
    char *sent = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    if (url.failed || (body != NULL && sent == NULL)) {
        free(sent);
        weir_buf_fini(&url);
        return cli_fail(CLI_INTERNAL, "out of memory");
    }

    struct weir_buf answer = WEIR_BUF_INIT;
    char error[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode code = transfer(&place, weir_buf_cstr(&url), sent, &answer, &status, error);
    free(sent);
    weir_buf_fini(&url);
    explicit_bzero(place.token, sizeof place.token);

    enum cli_exit exit_status = CLI_OK;
    json_error_t syntax;
    json_t *answered = NULL;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        exit_status = cli_fail(CLI_LIMIT, "%s does not answer within %ld ms", place.url, place.timeout_ms);
    } else if (code != CURLE_OK) {
        exit_status = cli_fail(CLI_UNREACHABLE, "cannot reach %s: %s", place.url,
                               error[0] == '\0' ? curl_easy_strerror(code) : error);
    } else {
        answered = json_loadb((const char *)answer.data, answer.size, 0, &syntax);
        if (status != 200) {
            exit_status = tell_problem(status, answered, filter);
        } else if (!json_is_array(json_object_get(answered, "rows")) ||
                   !json_is_array(json_object_get(answered, "columns"))) {
            exit_status = cli_fail(CLI_INTERNAL, "%s: this is not the answer of a console: %s", place.url,
                                   answered == NULL ? syntax.text : "it has no rows");
        }
    }
    weir_buf_fini(&answer);
    if (exit_status == CLI_OK) {
        *ret = answered;
    } else {
        json_decref(answered);
    }
    return exit_status;
}
