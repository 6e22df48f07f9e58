/*
 * An NSS module that knows every user and group the target's files do not list.
 *
 * nssw.conf asks the target's files first. Of the rest, uid 0 is root, every
 * other id is called by its number, and a number is found by that name. So
 * nothing says "I have no name!", and no program refuses to run for it.
 *
 * tcpdump, started as root, becomes the user tcpdump and ends if there is none;
 * in the session that user is root.
 */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHELL "/.kpexec/bin/bash"

static enum nss_status not_found(int *error)
{
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}

/* The caller comes again with a larger buffer. */
static enum nss_status too_small(int *error)
{
    *error = ERANGE;
    return NSS_STATUS_TRYAGAIN;
}

/* The id that a name stands for: 1 if it is one of ours. -1 is no id. */
static int id_of(const char *name, unsigned *id)
{
    char *end;
    unsigned long long number;

    if (strcmp(name, "root") == 0 || strcmp(name, "tcpdump") == 0) {
        *id = 0;
        return 1;
    }
    if (name[0] < '1' || name[0] > '9' || strlen(name) > 10)
        return 0;
    number = strtoull(name, &end, 10);
    if (*end != '\0' || number >= 0xffffffffULL)
        return 0;
    *id = (unsigned)number;
    return 1;
}

/* Writes the name of an id; the length with its NUL, or 0 if it does not fit. */
static size_t name_of(unsigned id, char *buffer, size_t size)
{
    int length = id == 0 ? snprintf(buffer, size, "root") : snprintf(buffer, size, "%u", id);

    return length < 0 || (size_t)length >= size ? 0 : (size_t)length + 1;
}

/* `id` is called `name` if that is given. */
static enum nss_status user(unsigned id, const char *name, struct passwd *result, char *buffer,
                            size_t size, int *error)
{
    size_t used;

    if (id == 0xffffffffU)
        return not_found(error);
    if (name) {
        used = strlen(name) + 1;
        if (used > size)
            return too_small(error);
        memcpy(buffer, name, used);
    } else {
        used = name_of(id, buffer, size);
        if (!used)
            return too_small(error);
    }
    result->pw_name = buffer;
    result->pw_passwd = "x";
    result->pw_uid = id;
    result->pw_gid = id;
    result->pw_gecos = "";
    result->pw_dir = "/";
    result->pw_shell = SHELL;
    return NSS_STATUS_SUCCESS;
}

static enum nss_status group(unsigned id, const char *name, struct group *result, char *buffer,
                             size_t size, int *error)
{
    struct passwd same;
    enum nss_status status;
    static char *no_members[] = {NULL};

    status = user(id, name, &same, buffer, size, error);
    if (status != NSS_STATUS_SUCCESS)
        return status;
    result->gr_name = same.pw_name;
    result->gr_passwd = same.pw_passwd;
    result->gr_gid = id;
    result->gr_mem = no_members;
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_kpexec_getpwuid_r(uid_t uid, struct passwd *result, char *buffer, size_t size,
                                       int *error)
{
    return user(uid, NULL, result, buffer, size, error);
}

enum nss_status _nss_kpexec_getpwnam_r(const char *name, struct passwd *result, char *buffer,
                                       size_t size, int *error)
{
    unsigned id;

    return id_of(name, &id) ? user(id, name, result, buffer, size, error) : not_found(error);
}

enum nss_status _nss_kpexec_getgrgid_r(gid_t gid, struct group *result, char *buffer, size_t size,
                                       int *error)
{
    return group(gid, NULL, result, buffer, size, error);
}

enum nss_status _nss_kpexec_getgrnam_r(const char *name, struct group *result, char *buffer,
                                       size_t size, int *error)
{
    unsigned id;

    return id_of(name, &id) ? group(id, name, result, buffer, size, error) : not_found(error);
}
