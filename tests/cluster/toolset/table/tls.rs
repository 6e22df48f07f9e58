//! TLS: our own authorities, and nobody else's.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "curl, of an authority it is told",
        r#"curl -sS --cacert ca.pem "https://localhost:$TLS/page.txt""#,
        &["served over TLS"],
    ),
    works(
        "curl refuses an unknown authority, by its own bundle",
        r#"curl -sSv "https://localhost:$TLS/page.txt"; echo "rc=$?""#,
        &["CAfile: /.kpexec/", "rc=60"],
    ),
    works(
        "the toolset's own authorities are trusted",
        r#"sed '/^-----END/q' /.kpexec/certs/ca-certificates.crt >root.pem; openssl verify root.pem
python3 -c 'import ssl; print("python:", len(ssl.create_default_context().get_ca_certs()) > 100)'"#,
        &["root.pem: OK", "python: True"],
    ),
    works("curl -k", r#"curl -sSk "https://localhost:$TLS/page.txt""#, &["served over TLS"]),
    works(
        "curl to the API server",
        r#"curl -sSk https://10.200.0.1:6443/version | jq -r .major"#,
        &["1"],
    ),
    works(
        "wget, of an authority it is told",
        r#"wget -qO- --ca-certificate=ca.pem "https://localhost:$TLS/page.txt""#,
        &["served over TLS"],
    ),
    works(
        "wget refuses an unknown authority",
        r#"wget -O- "https://localhost:$TLS/page.txt"; echo "rc=$?""#,
        &["rc=5"],
    ),
    works(
        "openssl as a client",
        r#"openssl s_client -connect "localhost:$TLS" -CAfile ca.pem </dev/null; openssl s_client -brief -verify_return_error -connect "localhost:$TLS" </dev/null; echo "rc=$?""#,
        &["Verify return code: 0 (ok)", "TLSv1.3", "rc=1"],
    ),
    works(
        "openssl makes keys and signs",
        r#"openssl genpkey -algorithm ed25519 -out ed.pem && openssl req -new -key ed.pem -subj /CN=leaf -out leaf.csr
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey key.pem -CAcreateserial -days 1 -out leaf.pem
openssl verify -CAfile ca.pem leaf.pem; openssl verify leaf.pem 2>&1 | tail -1"#,
        &["leaf.pem: OK", "leaf.pem: verification failed"],
    ),
    works(
        "openssl has its providers and our configuration",
        r#"printf abc | openssl dgst -provider legacy -provider default -md4; openssl version -d"#,
        &["a448017aaf21d8525fc10ae87aa6729d", "/.kpexec/"],
    ),
    works(
        "python has our authorities and no other",
        r#"python3 - "https://localhost:$TLS/page.txt" <<'X'
import ssl, sys, urllib.request
print(len(ssl.create_default_context().get_ca_certs()) > 100, ssl.get_default_verify_paths().cafile)
print(urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context(cafile="ca.pem")).read())
try:
    urllib.request.urlopen(sys.argv[1])
except OSError as error:
    print(error)
X"#,
        &["True", "b'served over TLS\\n'", "CERTIFICATE_VERIFY_FAILED"],
    ),
    works(
        "ncat speaks TLS",
        r#"ncat --ssl --ssl-cert ca.pem --ssl-key key.pem -l 127.0.0.1 "$FREE" -c 'echo by ncat' & listens "$FREE"
ncat --ssl --ssl-verify --ssl-trustfile ca.pem --recv-only localhost "$FREE""#,
        &["by ncat"],
    ),
    works(
        "socat speaks TLS",
        r#"socat -u "OPENSSL-LISTEN:$FREE,bind=127.0.0.1,reuseaddr,cert=ca.pem,key=key.pem,verify=0" CREATE:heard.txt & listens "$FREE"
echo by socat | socat -u - "OPENSSL:localhost:$FREE,cafile=ca.pem"; wait "$!"; cat heard.txt"#,
        &["by socat"],
    ),
    works(
        "git clones over https, and refuses an unknown authority",
        r#"
git init -q -b main repo && cd repo && echo tracked >file && git add file
git -c user.name=t -c user.email=t@localhost commit -qm 'the only one' && git update-server-info && cd ..
cat >serve.py <<'X'
import http.server, os, ssl
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["HTTPS"])), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("ca.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
X
python3 serve.py >/dev/null 2>&1 & listens "$HTTPS"
url=https://localhost:$HTTPS/repo/.git
git -c http.sslCAInfo="$W/ca.pem" clone -q "$url" clone && git -C clone log --oneline --stat
git ls-remote "$url"; echo "rc=$?"; kill "$!"
"#,
        &["the only one", "file | 1 +", "server certificate verification failed", "rc=128"],
    ),
];
