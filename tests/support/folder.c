#include "tests/support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void make_folder(char path[FOLDER_BYTES])
{
    snprintf(path, FOLDER_BYTES, "/tmp/weir-test-XXXXXX");
    if (mkdtemp(path) == NULL) abort();
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
