/**
 * CURVE key pairs and their files: <name>.key holds a pair and stays on its host (mode 0600), <name>.pub holds the
 * public half as one line of Z85 and may go anywhere.
 */
#ifndef WEIR_COMMON_NET_KEYS_H
#define WEIR_COMMON_NET_KEYS_H

#include "common/cluster/allow.h"

struct weir_keys {
    char public_key[WEIR_KEY_TEXT]; /* Z85 */
    char secret_key[WEIR_KEY_TEXT];
};

/** A fresh pair from the system's random numbers. WEIR_EUNSUPPORTED when libzmq was built without CURVE. Any thread. */
int weir_keys_make(struct weir_keys *ret, struct weir_why *why);

/**
 * Write @folder/@name.key and @folder/@name.pub, each whole and synced or not at all. The folder must exist.
 *
 *   WEIR_EPARAM   the name is not allowed (weir_name_is_valid)
 *   WEIR_EEXIST   one of the files exists and @overwrite is false: nothing was written
 *   WEIR_EIO, WEIR_ENOSPACE, WEIR_EDENIED
 */
int weir_keys_write(const struct weir_keys *keys, const char *folder, const char *name, bool overwrite,
                    struct weir_why *why);

/**
 * Read a pair from the .key file at @path.
 *
 *   WEIR_ENOTFOUND   there is no such file
 *   WEIR_EDENIED     it cannot be opened, or it is open to others: more than 0600, or 0640 where root owns it
 *   WEIR_EFORMAT     it is not a key file, or its halves do not belong together
 *   WEIR_EIO
 */
int weir_keys_read(const char *path, struct weir_keys *ret, struct weir_why *why);

/**
 * The pair of a daemon: as weir_keys_read, from the file of the same name in the folder that the service manager hands
 * out credentials in ($CREDENTIALS_DIRECTORY) where there is one, else from @path.
 */
int weir_keys_load(const char *path, struct weir_keys *ret, struct weir_why *why);

/** Read the public key of the .pub file at @path. WEIR_ENOTFOUND, WEIR_EDENIED, WEIR_EFORMAT, WEIR_EIO. */
int weir_keys_read_public(const char *path, char ret[WEIR_KEY_TEXT], struct weir_why *why);

enum { WEIR_SECRET_BYTES = 1024 }; /* room for a secret, with its NUL */

/**
 * Read a secret that is not a key, say a password: the first line of the file at @path, or of the credential of the same
 * name as above. WEIR_ENOTFOUND, WEIR_EDENIED as above, WEIR_EFORMAT it is empty, or more than a line; WEIR_EIO.
 */
int weir_secret_load(const char *path, char ret[WEIR_SECRET_BYTES], struct weir_why *why);

/** Overwrite the pair in memory. */
void weir_keys_wipe(struct weir_keys *keys);

#endif
