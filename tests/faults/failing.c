/* Preloaded into the command: makes its reads of images fail as a medium does.
 *
 * FAIL_HOW  error: EIO   interrupt: EINTR, once   short: a byte at a time   shrink, grow, touch: FAIL_PATH, just before
 * FAIL_AT   at which read it begins, counted from 1: of pread, or of read from standard input
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int calls;

static int is(const char *how) { return strcmp(getenv("FAIL_HOW"), how) == 0; }

/* 0: go on; -1: errno is set. */
static int fail(size_t *length)
{
    const char *path = getenv("FAIL_PATH");
    calls++;
    if (calls < atoi(getenv("FAIL_AT")))
        return 0;
    if (is("error")) {
        errno = EIO;
        return -1;
    }
    if (is("interrupt") && calls == atoi(getenv("FAIL_AT"))) {
        errno = EINTR;
        return -1;
    }
    if (is("short") && *length > 1)
        *length = 1;
    if (is("shrink") && truncate(path, 1000))
        abort();
    if (is("grow") && truncate(path, 1L << 40))
        abort();
    if (is("touch") && utimensat(AT_FDCWD, path, NULL, 0))
        abort();
    return 0;
}

ssize_t pread64(int file, void *buffer, size_t length, off_t offset)
{
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    return fail(&length) ? -1 : real(file, buffer, length, offset);
}

ssize_t pread(int file, void *buffer, size_t length, off_t offset)
{
    return pread64(file, buffer, length, offset);
}

ssize_t read(int file, void *buffer, size_t length)
{
    ssize_t (*real)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    return file == 0 && fail(&length) ? -1 : real(file, buffer, length);
}
