/** A folder of a test's own, below /tmp. */
#ifndef WEIR_TESTS_SUPPORT_FOLDER_H
#define WEIR_TESTS_SUPPORT_FOLDER_H

enum { FOLDER_BYTES = 64 };

/** Make an empty one; aborts when that fails. */
void make_folder(char path[FOLDER_BYTES]);

/** Remove it and what is in it. */
void remove_folder(const char *path);

#endif
