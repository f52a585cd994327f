/* Ends a process at a chosen call of open, write or rename: loaded before the C library
 * (LD_PRELOAD), so that the call itself decides and no clock does.
 *
 *   CRASH_CALL   open, write or rename
 *   CRASH_FILE   text that the file's path holds (for rename, the new path)
 *   CRASH_COUNT  the call that counts, from 1
 *   CRASH_WHEN   before: instead of the call; half: after half of a write; within: once the call
 *                is over, at some moment before the next file is touched
 *   CRASH_DELAY  microseconds until a kill `within`
 *
 * A kill `within` comes from a thread of its own. Whatever the scheduler does, the process cannot
 * get past the stretch that is meant: its next open, write or rename waits for the kill. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int seen, doomed;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void die(void) { kill(getpid(), SIGKILL); }

static void *die_later(void *unused) {
    usleep(atoi(setting("CRASH_DELAY")));
    die();
    return unused;
}

/* Whether this is the call that counts. */
static int meant(const char *call, const char *path) {
    while (atomic_load(&doomed)) pause();
    const char *file = setting("CRASH_FILE");
    return *file && !strcmp(call, setting("CRASH_CALL")) && strstr(path, file)
        && atomic_fetch_add(&seen, 1) + 1 == atoi(setting("CRASH_COUNT"));
}

static int when(const char *name) { return !strcmp(name, setting("CRASH_WHEN")); }

static void after(int is_meant) {
    if (!is_meant) return;
    atomic_store(&doomed, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, die_later, NULL)) die();
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    int is_meant = meant("open", path);
    if (is_meant && when("before")) die();
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    after(is_meant);
    return file;
}

ssize_t write(int file, const void *bytes, size_t count) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    int is_meant = meant("write", path);
    if (is_meant && when("before")) die();
    if (is_meant && when("half")) {
        syscall(SYS_write, file, bytes, count / 2);
        die();
    }
    ssize_t written = syscall(SYS_write, file, bytes, count);
    after(is_meant);
    return written;
}

int rename(const char *from, const char *to) {
    int is_meant = meant("rename", to);
    if (is_meant && when("before")) die();
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    after(is_meant);
    return result;
}
