//! The NSS module, asked as glibc asks it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Loads the module given as its argument, and says what it answers.
const ASK: &str = r#"
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
static void *module;
static void *f(const char *name) { return dlsym(module, name); }
static void user(const char *what, enum nss_status s, struct passwd *p, int *e) {
    if (s == NSS_STATUS_SUCCESS)
        printf("%s %s:%s:%u:%u:%s:%s:%s\n", what, p->pw_name, p->pw_passwd, p->pw_uid, p->pw_gid,
               p->pw_gecos, p->pw_dir, p->pw_shell);
    else
        printf("%s %d %d\n", what, s, *e);
}
static void group(const char *what, enum nss_status s, struct group *g, int *e) {
    if (s == NSS_STATUS_SUCCESS)
        printf("%s %s:%s:%u:%d\n", what, g->gr_name, g->gr_passwd, g->gr_gid, g->gr_mem[0] != 0);
    else
        printf("%s %d %d\n", what, s, *e);
}
int main(int argc, char **argv) {
    enum nss_status (*pwuid)(uid_t, struct passwd *, char *, size_t, int *);
    enum nss_status (*pwnam)(const char *, struct passwd *, char *, size_t, int *);
    enum nss_status (*grgid)(gid_t, struct group *, char *, size_t, int *);
    enum nss_status (*grnam)(const char *, struct group *, char *, size_t, int *);
    struct passwd p; struct group g; char b[64]; int e = 0;
    const char *names[] = {"root", "tcpdump", "65532", "4294967294", "4294967295", "0", "007",
                           "12x", "nobody", "", "99999999999"};
    module = dlopen(argv[1], RTLD_NOW);
    if (argc != 2 || !module) return 2;
    pwuid = f("_nss_kpexec_getpwuid_r"); pwnam = f("_nss_kpexec_getpwnam_r");
    grgid = f("_nss_kpexec_getgrgid_r"); grnam = f("_nss_kpexec_getgrnam_r");
    user("uid 0", pwuid(0, &p, b, sizeof b, &e), &p, &e);
    user("uid 65532", pwuid(65532, &p, b, sizeof b, &e), &p, &e);
    user("uid -1", pwuid(-1, &p, b, sizeof b, &e), &p, &e);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        user(names[i], pwnam(names[i], &p, b, sizeof b, &e), &p, &e);
    group("gid 7", grgid(7, &g, b, sizeof b, &e), &g, &e);
    group("group 7", grnam("7", &g, b, sizeof b, &e), &g, &e);
    group("group wheel", grnam("wheel", &g, b, sizeof b, &e), &g, &e);
    user("small", pwuid(65532, &p, b, 5, &e), &p, &e);
    user("enough", pwuid(65532, &p, b, 6, &e), &p, &e);
    user("small name", pwnam("tcpdump", &p, b, 7, &e), &p, &e);
    group("small group", grgid(65532, &g, b, 5, &e), &g, &e);
    return 0;
}
"#;

/// NSS_STATUS_NOTFOUND with ENOENT, NSS_STATUS_TRYAGAIN with ERANGE: nsswitch's
/// contract in the glibc manual, "NSS Module Function Internals".
const ANSWERS: &str = "\
uid 0 root:x:0:0::/:/.kpexec/bin/bash
uid 65532 65532:x:65532:65532::/:/.kpexec/bin/bash
uid -1 0 2
root root:x:0:0::/:/.kpexec/bin/bash
tcpdump tcpdump:x:0:0::/:/.kpexec/bin/bash
65532 65532:x:65532:65532::/:/.kpexec/bin/bash
4294967294 4294967294:x:4294967294:4294967294::/:/.kpexec/bin/bash
4294967295 0 2
0 0 2
007 0 2
12x 0 2
nobody 0 2
 0 2
99999999999 0 2
gid 7 7:x:7:0
group 7 7:x:7:0
group wheel 0 2
small -2 34
enough 65532:x:65532:65532::/:/.kpexec/bin/bash
small name -2 34
small group -2 34
";

#[test]
fn everybody_has_a_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (module, ask) = (folder.path().join("module.so"), folder.path().join("ask"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("nss/kpexec.c");
    gcc(&["-shared", "-fPIC"], &module, &source)?;
    let code = folder.path().join("ask.c");
    std::fs::write(&code, ASK)?;
    gcc(&["-D_GNU_SOURCE"], &ask, &code)?;
    let said = Command::new(&ask).arg(&module).output()?;
    ensure!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8(said.stdout)?, ANSWERS);
    Ok(())
}

fn gcc(options: &[&str], to: &Path, from: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-O2", "-fsanitize=undefined", "-fno-sanitize-recover"]);
    let status = gcc.args(options).arg("-o").args([to, from]).status().context("run gcc")?;
    ensure!(status.success(), "gcc failed");
    Ok(())
}
