//! Until when a client certificate is good: an API server says of one that has
//! expired only that we are not authorized.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::DateTime;
use k8s_openapi::jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `version`, which certificates of the first version do not have.
const VERSION: u8 = 0xa0;

/// The end of the validity of RFC 5280, 4.1; none if it is no such certificate.
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = inside(der, SEQUENCE)?;
    let (mut rest, _) = inside(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = element(rest)?;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = inside(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// By RFC 5280, 4.1.2.5: always with seconds, always UTC.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match tag {
        GENERALIZED_TIME => text.to_owned(),
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

fn inside(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag, content, and what follows, by X.690, 8.1.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ ..0x80 => (short, rest),
        long => {
            let (length, rest) = rest.split_at_checked(long - 0x80)?;
            if length.len() > 4 {
                return None;
            }
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// As openssl(1) makes it, and reads it.
    fn openssl(args: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    #[test]
    fn the_end_is_what_openssl_says() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let key = key.to_str().unwrap();
        for days in ["1", "400", "36500"] {
            let pem = openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ed25519",
                "-nodes",
                "-keyout",
                key,
                "-subj",
                "/O=a/CN=b",
                "-days",
                days,
            ]);
            let file = folder.path().join("pem");
            std::fs::write(&file, &pem).unwrap();
            let said = openssl(&[
                "x509",
                "-in",
                file.to_str().unwrap(),
                "-noout",
                "-enddate",
                "-dateopt",
                "iso_8601",
            ]);
            let said = String::from_utf8(said).unwrap();
            let said = said.trim().strip_prefix("notAfter=").unwrap().replace(' ', "T");
            let der = CertificateDer::from_pem_slice(&pem).unwrap();
            assert_eq!(not_after(&der).unwrap().to_string(), said);
            // However much of it there is, it does not fall over.
            for length in 0..der.len() {
                not_after(&der[..length]);
            }
        }
        assert_eq!(not_after(b"not a certificate"), None);
    }
}
