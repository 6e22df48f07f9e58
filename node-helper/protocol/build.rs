//! Generates the clients and the servers of both services.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    tonic_prost_build::configure()
        .bytes(".kpexec.v1")
        .compile_protos(&["proto/session.proto", "proto/share.proto"], &["proto"])
}
