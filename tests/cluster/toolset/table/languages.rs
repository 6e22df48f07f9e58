//! Python and what it is made of, and git.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "python with its compiled modules",
        r#"python3 -c 'import sqlite3, zlib, bz2, lzma, hashlib, ctypes, readline, uuid, decimal, xml.etree.ElementTree as x
db = sqlite3.connect("db"); db.execute("create table t(a)"); db.execute("insert into t values (42)"); db.commit()
print(sqlite3.connect("db").execute("select a from t").fetchone())
print(ctypes.CDLL(None).abs(-7), ctypes.CDLL("libc.so.6").getpid() > 0, lzma.decompress(lzma.compress(b"x")))
print(x.fromstring("<a><b>text</b></a>")[0].text)'"#,
        &["(42,)", "7 True b'x'", "text"],
    ),
    works(
        "python knows its user",
        r#"python3 -c 'import os, pwd, getpass, grp
e = pwd.getpwuid(os.getuid()); print(e.pw_name == os.environ["ME"] == getpass.getuser(), grp.getgrgid(os.getgid()).gr_gid)'"#,
        &["True "],
    ),
    works(
        "python runs programs and shells",
        r#"python3 -c 'import subprocess, multiprocessing, tempfile, os
print(subprocess.check_output("echo $((40 + 2)) by shell", shell=True, text=True).strip())
print(os.popen("echo by popen").read().strip(), os.system("exit 3") >> 8)
with multiprocessing.Pool(2) as p: print(p.map(abs, [-1, -2]))'"#,
        &["42 by shell", "by popen 3", "[1, 2]"],
    ),
    works(
        "git clones from a folder and pushes to it",
        r#"
git init -q --bare -b main origin && git clone -q origin work 2>&1 && cd work && echo tracked >file && git add file
git -c user.name=t -c user.email=t@localhost commit -qm 'by hand' && git push -q origin main
git -C ../origin log --oneline --stat main"#,
        &["by hand", "file | 1 +"],
    ),
    works(
        "python with readline, on a terminal",
        r#"terminal py 'python3 -q'; shows py '>>>'; keys py 'prit("o" + "k")' Home Right Right Right n Enter; shows py ok && echo interactive"#,
        &["interactive"],
    ),
];
