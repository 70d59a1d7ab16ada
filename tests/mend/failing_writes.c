/* Preloaded into a process: ends or fails what it does to files.
 *
 * FAIL_AT   at which call it begins, counted from 1: of those that make, write, cut, sync, name, or remove a file
 * FAIL_HOW  full: ENOSPC from then on   once: ENOSPC that one time   kill: SIGKILL, before the call
 *           torn: SIGKILL, after half of what was to be written
 *
 * Calls that take room away from nothing (unlink, close) are counted, so that a process is killed there too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int calls;

static int is(const char *how) { return strcmp(getenv("FAIL_HOW"), how) == 0; }

/* 0: go on; 1: write half, and be killed; -1: errno is set. */
static int fail(int takes_room, int writes)
{
    int at = atoi(getenv("FAIL_AT"));
    calls++;
    if (calls < at)
        return 0;
    if (is("kill") || (is("torn") && !writes))
        raise(SIGKILL);
    if (is("torn"))
        return 1;
    if (takes_room && (is("full") || calls == at)) {
        errno = ENOSPC;
        return -1;
    }
    return 0;
}

ssize_t write(int file, const void *data, size_t length)
{
    int failed = file > 2 ? fail(1, 1) : 0;
    if (failed < 0)
        return -1;
    ssize_t done = REAL(write)(file, data, failed ? length / 2 : length);
    if (failed)
        raise(SIGKILL);
    return done;
}

int ftruncate64(int file, off_t length) { return fail(1, 0) ? -1 : REAL(ftruncate64)(file, length); }

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

int fsync(int file) { return fail(1, 0) ? -1 : REAL(fsync)(file); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    return fail(1, 0) ? -1 : REAL(linkat)(from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to) { return fail(1, 0) ? -1 : REAL(link)(from, to); }

int rename(const char *from, const char *to) { return fail(1, 0) ? -1 : REAL(rename)(from, to); }

int unlink(const char *path)
{
    fail(0, 0);
    return REAL(unlink)(path);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, int) : 0;
    va_end(more);
    if ((flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) && fail(1, 0))
        return -1;
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    return open64(path, flags, mode);
}
