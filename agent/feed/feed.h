/**
 * Flow logs that come as text: AWS, Azure and GCP VPC flow logs, and Zeek's conn.log. A parser takes bytes and yields
 * flows in the form of every other exporter. Pure: no files, clocks or globals.
 *
 * Formats, as their makers document them: Amazon VPC User Guide, "Flow log records" (versions 2 to 8, and what later
 * ones added); Azure Network Watcher, "NSG flow logs" (version 2) and "Virtual network flow logs"; Google Cloud VPC,
 * "VPC Flow Logs record format"; Zeek's Book of Zeek, "conn.log".
 */
#ifndef WEIR_AGENT_FEED_FEED_H
#define WEIR_AGENT_FEED_FEED_H

#include "common/base/err.h"
#include "common/flow/extra.h"
#include "common/flow/flow.h"

enum feed_format { FEED_AWS, FEED_AZURE, FEED_GCP, FEED_ZEEK };

/** The words of an option that chooses a format, in the order of enum feed_format. */
#define FEED_FORMATS "aws|azure|gcp|zeek"

enum {
    FEED_LINE_MOST = 64 << 10,  /* bytes of a line; longer ones are bad */
    FEED_OBJECT_MOST = 4 << 20, /* bytes of a JSON record; an Azure one has all flows of an interface in a minute */
    FEED_ORIGIN_BYTES = 160
};

/**
 * Who saw the flows. Clouds have no exporter address, so one is made that nobody routes and that is always the same:
 * fd57:4549:5200:<1 AWS, 2 Azure, 3 GCP, 4 Zeek>:<64 bits>. These are the twelve digits of an AWS account
 * (...:0:1234:5678:9012), else a hash: of the Azure resource, of the GCP project, of the name of the Zeek feed.
 * The domain tells networks of one owner apart: the end of an AWS VPC's id, a hash of a GCP subnetwork; 0 unknown.
 */
struct feed_origin {
    struct weir_source source;
    const char *name; /* for people: "aws/123456789012/vpc-0a1b" */
};

/** What a log says beside flows. */
enum feed_told {
    FEED_TOLD_NODATA,  /* AWS: an interface had no traffic: a sign of life */
    FEED_TOLD_SKIPPED, /* AWS: records of an interval were lost before the log */
    FEED_TOLD_BEGUN,   /* Azure: a flow began; its counters come later */
    FEED_TOLD_NO_FLOW, /* a record of another kind */
    FEED_TOLD_COUNT
};

/** Where what was parsed goes. What the pointers lend is valid for the call. */
struct feed_out {
    void (*flow)(void *ctx, const struct feed_origin *origin, const struct weir_flow *flow);
    void (*told)(void *ctx, const struct feed_origin *origin, enum feed_told what);
    void (*bad)(void *ctx, uint64_t line, const char *reason); /* a line, or the record that begins in it, from 1 */
    void *ctx;
};

struct feed_parser;

/**
 * A parser at the beginning of a log. @fields: the names of the columns where the log has no line that says so, as its
 * maker writes them ("version account-id ...", "${version} ${account-id} ..."); NULL or "" for none. @keep: what is to
 * be kept of records beside what a flow has fields for, likewise, at most WEIR_EXTRAS_MOST: names of columns (AWS, Zeek),
 * of members of a record or of the flow group or ACL that a tuple is in (Azure: "rule"), of jsonPayload with '.' between
 * levels (GCP: "src_instance.vm_name"). @name: of the feed, which is the identity of Zeek. All are copied.
 * WEIR_EPARAM (a name is no field; too many, too long or twice), WEIR_ENOMEM.
 */
int feed_parser_create(enum feed_format format, const char *fields, const char *keep, const char *name,
                       struct feed_parser **ret, struct weir_why *why);
void feed_parser_destroy(struct feed_parser *parser);

/** How many things are kept; what the @at-th becomes: an extra column of text ("vpc-id" is called vpc_id). */
size_t feed_parser_keeps(const struct feed_parser *parser);
struct weir_extra feed_parser_extra(const struct feed_parser *parser, size_t at);

/** What the record at hand has of it; empty: nothing. Valid inside of the call of feed_out.flow. */
struct weir_view feed_parser_kept(const struct feed_parser *parser, size_t at);

/**
 * Parse the whole records at the front of @bytes. Returns how many bytes were used up: a caller drops them, and comes
 * back with what is left and more behind it. A record that is longer than it may be is used up as it comes. With
 * @last nothing follows, and a line needs no end.
 *
 * Where the input is cut is all the same: the records, their lines and the sum of the returned counts at their ends
 * depend on the bytes alone.
 */
size_t feed_parse(struct feed_parser *parser, struct weir_view bytes, bool last, const struct feed_out *out);

/** "aws", "azure", "gcp", "zeek". Static memory. */
const char *feed_format_name(enum feed_format format);

/** How the batches of a format say that they came. */
enum weir_protocol feed_protocol(enum feed_format format);

#endif
