/* A disk that is full or read-only, for the files that are meant: loaded before the C library
 * (LD_PRELOAD).
 *
 *   FULL_FILE   text that the file's path holds
 *   FULL_ERROR  ENOSPC: writing to it fails; EROFS: opening it to write fails */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int meant(const char *error, const char *path) {
    const char *file = getenv("FULL_FILE"), *wanted = getenv("FULL_ERROR");
    return file && wanted && !strcmp(wanted, error) && strstr(path, file);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    if ((flags & (O_WRONLY | O_RDWR)) && meant("EROFS", path)) {
        errno = EROFS;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (meant("ENOSPC", path)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, file, bytes, count);
}
