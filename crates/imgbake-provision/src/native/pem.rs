//! Certificates in PEM form (RFC 7468).

/// The certificates of a text, each without what stands around it; why not, where it has none or has what must not be
/// given away.
pub(super) fn certificates(text: &str) -> Result<Vec<String>, &'static str> {
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in text.lines().map(str::trim) {
        if line.contains("PRIVATE KEY-----") {
            return Err("holds a private key: give a file with certificates alone");
        }
        match (line, &mut open) {
            ("-----BEGIN CERTIFICATE-----" | "-----BEGIN TRUSTED CERTIFICATE-----", Some(_)) => {
                return Err("is cut: a certificate in it has no end");
            }
            ("-----BEGIN TRUSTED CERTIFICATE-----", None) => {
                return Err("has OpenSSL's own form: write it anew with `openssl x509 -in FILE`");
            }
            ("-----BEGIN CERTIFICATE-----", None) => open = Some(String::new()),
            ("-----END CERTIFICATE-----", Some(body)) => {
                if !is_body(body) {
                    return Err("is damaged: what it calls a certificate is none");
                }
                found.push(format!(
                    "-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"
                ));
                open = None;
            }
            (line, Some(body)) => body.extend([line, "\n"]),
            (_, None) => {}
        }
    }
    match (open, found.is_empty()) {
        (Some(_), _) => Err("is cut: a certificate in it has no end"),
        (None, true) => Err(
            "has no certificate in PEM form; for one in DER form: `openssl x509 -inform der -in FILE`",
        ),
        (None, false) => Ok(found),
    }
}

/// Whether it may be a certificate: base64 of a sequence with a length of two bytes or more (X.690, 8.1).
fn is_body(body: &str) -> bool {
    let bytes: Vec<u8> = body.bytes().filter(|byte| *byte != b'\n').collect();
    let digits = bytes.trim_ascii_end().strip_suffix(b"=").unwrap_or(&bytes);
    let digits = digits.strip_suffix(b"=").unwrap_or(digits);
    bytes.len() > 64
        && bytes.len().is_multiple_of(4)
        && bytes.starts_with(b"MI")
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn certificates_are_told_from_all_else() {
        let body = format!("MIIB{}", "a".repeat(64));
        let one = pem(&body);
        assert_eq!(certificates(&one), Ok(vec![one.clone()]));
        let two = format!("# company\r\n{}subject=x\n{one}", one.replace('\n', "\r\n"));
        assert_eq!(certificates(&two), Ok(vec![one.clone(), one.clone()]));
        for (text, part) in [
            (String::new(), "no certificate"),
            ("<html>".to_owned(), "no certificate"),
            (one.replace("-----END", "----END"), "is cut"),
            (format!("-----BEGIN CERTIFICATE-----\n{one}"), "is cut"),
            (pem(""), "is damaged"),
            (pem(&body.replace('a', "!")), "is damaged"),
            (pem(&format!("{body}a")), "is damaged"),
            (format!("{one}-----BEGIN RSA PRIVATE KEY-----\n"), "a private key"),
            (format!("-----BEGIN PRIVATE KEY-----\n{one}"), "a private key"),
            (one.replace("CERT", "TRUSTED CERT"), "OpenSSL's own form"),
        ] {
            let why = certificates(&text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
