/* Counts every change that this process makes below one folder, and does harm at the n-th: for LD_PRELOAD.
 *
 * SQLite's writes pass through here as well as Python's: both call libc. Disarmed (until `shim_arm`), it passes all on.
 * Armed, each create, write, sync, truncate, rename, link, unlink, mkdir and rmdir below the folder has a number from 0 on, and
 * so, apart, has each read. At number `target`, before it is done:
 *
 *   KILL    the process kills itself (SIGKILL)
 *   TEAR    of a write the first half is done, then it kills itself; otherwise as KILL
 *   FAIL    it is not done and fails with `error`; from there on all fail if `for_good`
 *   SHORT   of a write the first half is done, as on a disk that has just become full; all that needs room fails from there on
 *   SIGNAL  signal `error` is sent to the process, then it is done
 *   READ    the read with that number fails with `error`
 *
 * What is done is also written to `log`, with its contents, so that it can be replayed: see replay.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { NOTHING, KILL, TEAR, FAIL, SHORT, SIGNAL, READ };
enum kind { CREATE, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, OPEN, CLOSE, MARK, LINK };

struct entry { /* one line of the log, followed by both paths and the data */
    int32_t kind, file;
    int64_t offset, length;
    int32_t first, second; /* lengths of the paths */
};

enum { FILES = 1 << 16 };
static char folder[PATH_MAX];
static size_t folder_length;
static char mine[FILES]; /* 1: this descriptor is a file below the folder, 2: a folder, maybe it itself */
static int armed, mode, target, error_number, for_good, log_file = -1;
static int changes, reads;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static ssize_t put(int file, const void *data, size_t length) {
    return REAL(write)(file, data, length);
}

static void note(int kind, int file, int64_t offset, int64_t length, const char *one, const char *two, const void *data) {
    if (log_file < 0) return;
    struct entry e = {kind, file, offset, length, one ? strlen(one) : 0, two ? strlen(two) : 0};
    put(log_file, &e, sizeof e);
    if (one) put(log_file, one, e.first);
    if (two) put(log_file, two, e.second);
    if (data) put(log_file, data, length);
}

static const char *below(int at, const char *path, char *full) { /* the path within the folder, or NULL */
    if (!armed || !path) return NULL;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return NULL;
        strcpy(full, path);
    } else if (at == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX - 1 - strlen(path))) return NULL;
        strcat(strcat(full, "/"), path);
    } else return NULL;
    if (strncmp(full, folder, folder_length)) return NULL;
    if (!full[folder_length]) return ".";
    return full[folder_length] == '/' ? full + folder_length + 1 : NULL;
}

static int ours(int file) { return armed && file >= 0 && file < FILES && mine[file]; }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Gives a change its number. 0: do it; 1: it fails, errno is set; 2: do half of it, the next ones fail. */
enum { GROWS = 1, IS_WRITE = 2 }; /* what a full disk refuses */

static int harm(int what) {
    int number = changes++, is_write = what & IS_WRITE;
    if (number < target || mode == NOTHING || mode == READ) return 0;
    if (mode == SHORT && !what) return 0;
    if (number > target && !((mode == FAIL && for_good) || mode == SHORT)) return 0;
    if (mode == TEAR && is_write) return 2;
    if (mode == KILL || mode == TEAR) die();
    if (mode == SIGNAL) {
        kill(getpid(), error_number);
        return 0;
    }
    if (mode == SHORT && number == target && is_write) return 2;
    errno = error_number;
    return 1;
}

/* for tests ------------------------------------------------------------------------------------------------------ */

void shim_arm(const char *path, int at, int how, int error, int always, const char *log) {
    strncpy(folder, path, PATH_MAX - 1);
    folder_length = strlen(folder);
    target = at, mode = how, error_number = error, for_good = always, changes = reads = 0;
    memset(mine, 0, sizeof mine);
    log_file = log && *log ? REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    armed = 1;
}

void shim_disarm(void) { armed = 0; }
int shim_changes(void) { return changes; }
int shim_reads(void) { return reads; }

void shim_mark(int number) {
    pthread_mutex_lock(&lock);
    if (armed) note(MARK, number, 0, 0, NULL, NULL, NULL);
    pthread_mutex_unlock(&lock);
}

/* changes -------------------------------------------------------------------------------------------------------- */

static int opening(int at, const char *path, int flags, mode_t rights) {
    char full[PATH_MAX];
    const char *within = below(at, path, full);
    if (!within) return REAL(openat)(at, path, flags, rights);
    pthread_mutex_lock(&lock);
    struct stat before;
    int there = !REAL(fstatat)(at, path, &before, 0), result = -1, bad = 0, changing = 0;
    int writable = (flags & O_ACCMODE) != O_RDONLY;
    if (!there && flags & O_CREAT) changing = 1, bad = harm(GROWS);
    else if (there && writable && flags & O_TRUNC && before.st_size) changing = 2, bad = harm(0);
    else if (writable && (mode == FAIL && for_good && error_number == EROFS) && changes > target) errno = EROFS, bad = 1;
    if (!bad) result = REAL(openat)(at, path, flags, rights);
    if (result >= 0 && result < FILES) {
        mine[result] = flags & O_DIRECTORY || (there && S_ISDIR(before.st_mode)) ? 2 : 1;
        if (changing == 1) note(CREATE, result, 0, 0, within, NULL, NULL);
        else note(OPEN, result, 0, 0, within, NULL, NULL);
        if (changing == 2) note(TRUNCATE, result, 0, 0, NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static mode_t rights_of(int flags, va_list list) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); mode_t rights = rights_of(flags, list); va_end(list); \
        return opening(AT_FDCWD, path, flags, rights); \
    }
#define OPENS_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); mode_t rights = rights_of(flags, list); va_end(list); \
        return opening(at, path, flags, rights); \
    }
OPENS(open)
OPENS(open64)
int creat(const char *path, mode_t rights) { return opening(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, rights); }

/* `openat` calls itself through REAL, which finds libc's. */
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int file) {
    if (ours(file)) {
        pthread_mutex_lock(&lock);
        note(CLOSE, file, 0, 0, NULL, NULL, NULL);
        mine[file] = 0;
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(file);
}

static ssize_t writing(int file, const void *data, size_t length, off_t offset, int here) {
    if (!ours(file)) return here ? REAL(write)(file, data, length) : REAL(pwrite)(file, data, length, offset);
    pthread_mutex_lock(&lock);
    if (here) offset = fcntl(file, F_GETFL) & O_APPEND ? lseek(file, 0, SEEK_END) : lseek(file, 0, SEEK_CUR);
    ssize_t done = -1;
    int bad = harm(GROWS | IS_WRITE);
    if (bad == 2) length /= 2;
    if (bad != 1) done = here ? REAL(write)(file, data, length) : REAL(pwrite)(file, data, length, offset);
    if (done > 0) note(WRITE, file, offset, done, NULL, NULL, data);
    if (bad == 2 && mode == TEAR) die();
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int file, const void *data, size_t length) { return writing(file, data, length, 0, 1); }
ssize_t pwrite(int file, const void *data, size_t length, off_t at) { return writing(file, data, length, at, 0); }
ssize_t pwrite64(int file, const void *data, size_t length, off64_t at) { return writing(file, data, length, at, 0); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (!ours(file)) return REAL(writev)(file, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(file, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

static ssize_t sending(int to, int from, off_t *offset, size_t count) {
    char block[65536];
    if (count > sizeof block) count = sizeof block;
    ssize_t got = offset ? pread(from, block, count, *offset) : read(from, block, count);
    if (got <= 0) return got;
    ssize_t done = write(to, block, got);
    if (offset && done > 0) *offset += done;
    else if (!offset && done < got) lseek(from, done < 0 ? -got : done - got, SEEK_CUR);
    return done;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    return ours(to) ? sending(to, from, offset, count) : REAL(sendfile)(to, from, offset, count);
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
    return ours(to) ? sending(to, from, offset, count) : REAL(sendfile64)(to, from, offset, count);
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t count, unsigned flags) {
    if (!ours(to)) return REAL(copy_file_range)(from, a, to, b, count, flags);
    errno = ENOSYS;
    return -1;
}

#define CHANGE(guard, what, call, record) \
    if (!(guard)) return call; \
    pthread_mutex_lock(&lock); \
    int result = -1; \
    if (!harm(what)) { result = call; if (!result) { record; } } \
    pthread_mutex_unlock(&lock); \
    return result

int fsync(int file) { CHANGE(ours(file), 0, REAL(fsync)(file), note(SYNC, file, mine[file], 0, NULL, NULL, NULL)); }
int fdatasync(int file) { CHANGE(ours(file), 0, REAL(fdatasync)(file), note(SYNC, file, mine[file], 0, NULL, NULL, NULL)); }
int ftruncate(int file, off_t n) { CHANGE(ours(file), 0, REAL(ftruncate)(file, n), note(TRUNCATE, file, n, 0, NULL, NULL, NULL)); }
int ftruncate64(int file, off64_t n) { CHANGE(ours(file), 0, REAL(ftruncate)(file, n), note(TRUNCATE, file, n, 0, NULL, NULL, NULL)); }

#define WITHIN(name, at, path) char full_##name[PATH_MAX]; const char *name = below(at, path, full_##name)

static int renaming(int a, const char *from, int b, const char *to) {
    WITHIN(old, a, from);
    WITHIN(new, b, to);
    CHANGE(old || new, 0, REAL(renameat)(a, from, b, to), note(RENAME, -1, 0, 0, old ? old : "", new ? new : "", NULL));
}
int rename(const char *from, const char *to) { return renaming(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int a, const char *from, int b, const char *to) { return renaming(a, from, b, to); }

static int linking(int a, const char *from, int b, const char *to, int flags) {
    WITHIN(old, a, from);
    WITHIN(new, b, to);
    CHANGE(old && new, GROWS, REAL(linkat)(a, from, b, to, flags), note(LINK, -1, 0, 0, old, new, NULL));
}
int link(const char *from, const char *to) { return linking(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return linking(a, from, b, to, flags); }

int unlink(const char *path) {
    WITHIN(name, AT_FDCWD, path);
    struct stat seen;
    CHANGE(name && !lstat(path, &seen), 0, REAL(unlink)(path), note(UNLINK, -1, 0, 0, name, NULL, NULL));
}
int unlinkat(int at, const char *path, int flags) {
    WITHIN(name, at, path);
    CHANGE(name, 0, REAL(unlinkat)(at, path, flags), note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, -1, 0, 0, name, NULL, NULL));
}
int rmdir(const char *path) {
    WITHIN(name, AT_FDCWD, path);
    CHANGE(name, 0, REAL(rmdir)(path), note(RMDIR, -1, 0, 0, name, NULL, NULL));
}
int mkdir(const char *path, mode_t rights) {
    WITHIN(name, AT_FDCWD, path);
    struct stat seen;
    CHANGE(name && lstat(path, &seen), GROWS, REAL(mkdir)(path, rights), note(MKDIR, -1, 0, 0, name, NULL, NULL));
}

/* reads ---------------------------------------------------------------------------------------------------------- */

static int unreadable(int file) {
    if (!ours(file) || mine[file] == 2) return 0;
    int number = __sync_fetch_and_add(&reads, 1);
    if (mode != READ || number < target || (number > target && !for_good)) return 0;
    errno = error_number;
    return 1;
}

ssize_t read(int file, void *to, size_t length) { return unreadable(file) ? -1 : REAL(read)(file, to, length); }
ssize_t pread(int file, void *to, size_t n, off_t at) { return unreadable(file) ? -1 : REAL(pread)(file, to, n, at); }
ssize_t pread64(int file, void *to, size_t n, off64_t at) { return unreadable(file) ? -1 : REAL(pread)(file, to, n, at); }
