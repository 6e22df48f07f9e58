//! Generates the client and the server of the session service.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=proto/session.proto");
    tonic_prost_build::configure()
        .bytes(".kpexec.v1")
        .compile_protos(&["proto/session.proto"], &["proto"])
}
