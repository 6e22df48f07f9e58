//! Which proxy is between us and the API server, by the rules of Go's net/http
//! (golang.org/x/net/http/httpproxy), which kubectl has.

use std::net::IpAddr;

use http::Uri;
use thiserror::Error;

/// A proxy that makes no sense.
#[derive(Debug, Error)]
#[error("cannot use the proxy of {from}: {why}")]
pub struct ProxyError {
    /// Which variable or field names it.
    from: &'static str,
    why: &'static str,
}

impl ProxyError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        "a proxy is [http://|https://|socks5://][USER:PASSWORD@]HOST[:PORT]".into()
    }
}

/// The proxy for this server: the kubeconfig's `proxy-url` whatever NO_PROXY says,
/// else the environment's.
pub fn choose(
    server: &Uri,
    of_kubeconfig: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, ProxyError> {
    let given = |text: &String| !text.is_empty();
    if let Some(proxy) = of_kubeconfig.filter(|proxy| !proxy.is_empty()) {
        return parse(proxy).map(Some).map_err(|why| ProxyError { from: "proxy-url", why });
    }
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, variable(name).filter(given)?)))
    };
    let secure = server.scheme_str() == Some("https");
    let by_scheme =
        if secure { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let Some((from, proxy)) = first(by_scheme) else { return Ok(None) };
    let exceptions = first(["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default();
    let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
    if !uses_proxy(server.host().unwrap_or_default(), port, &exceptions) {
        return Ok(None);
    }
    parse(&proxy).map(Some).map_err(|why| ProxyError { from, why })
}

/// With the port that its scheme stands for, as kube's connectors do not know that.
fn parse(proxy: &str) -> Result<Uri, &'static str> {
    let whole = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let uri: Uri = whole.parse().map_err(|_| "it is no address")?;
    // Names are for the proxy to look up, by either.
    let (scheme, port) = match uri.scheme_str() {
        Some("http") => ("http", 80),
        Some("https") => ("https", 443),
        Some("socks5" | "socks5h") => ("socks5", 1080),
        _ => return Err("it is neither http, https nor socks5"),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or("it has no host")?;
    let authority = match authority.port_u16() {
        Some(_) => authority.to_string(),
        None => format!("{}:{port}", authority.as_str().trim_end_matches(':')),
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    uri.map_err(|_| "it is no address")
}

/// For people: without what is secret in it.
pub fn shown(proxy: &Uri) -> String {
    let authority = proxy.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}", proxy.scheme_str().unwrap_or_default())
}

/// Whether NO_PROXY lets this host be proxied.
fn uses_proxy(host: &str, port: u16, exceptions: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return false;
    }
    let exceptions = exceptions.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    !exceptions.map(str::to_ascii_lowercase).any(|entry| matches(&entry, &host, address, port))
}

fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = network(entry) {
        return address.is_some_and(|address| contains(network, bits, address));
    }
    let (name, only) = split_port(entry);
    if only.is_some_and(|only| only != port.to_string()) || name.is_empty() {
        return false;
    }
    if let Ok(entry) = name.parse::<IpAddr>() {
        return address == Some(entry.to_canonical());
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// `NAME:PORT`, `[ADDRESS]:PORT`, or without a port, as net.SplitHostPort has it.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, Some(port)),
        _ => (entry, None),
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    (inner.unwrap_or(name), port.filter(|port| !port.is_empty()))
}

fn network(entry: &str) -> Option<(IpAddr, u32)> {
    let (network, bits) = entry.split_once('/')?;
    let network: IpAddr = network.parse().ok()?;
    let bits = bits.parse().ok()?;
    (bits <= if network.is_ipv4() { 32 } else { 128 }).then_some((network, bits))
}

fn contains(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or_default();
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or_default();
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of Go's proxy_test.go among them.
    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (exceptions, host, port, proxied) in [
            ("", "api.corp", 443, true),
            ("", "localhost", 443, false),
            ("", "127.0.0.1", 6443, false),
            ("", "127.0.0.2", 6443, false),
            ("", "[::1]", 6443, false),
            ("", "[::2]", 6443, true),
            ("*", "api.corp", 443, false),
            (" * ", "api.corp", 443, false),
            ("api.corp", "api.corp", 443, false),
            ("API.corp", "api.CORP", 443, false),
            ("api.corp", "my-api.corp", 443, true),
            ("corp", "api.corp", 443, false),
            (".corp", "api.corp", 443, false),
            (".corp", "corp", 443, true),
            ("*.corp", "api.corp", 443, false),
            ("*.corp", "corp", 443, true),
            ("*corp", "api.corp", 443, true),
            ("api.corp:6443", "api.corp", 6443, false),
            ("api.corp:6443", "api.corp", 443, true),
            (".corp:6443", "api.corp", 6443, false),
            (".corp:6443", "api.corp", 443, true),
            ("10.0.0.1", "10.0.0.1", 6443, false),
            ("10.0.0.1", "10.0.0.11", 6443, true),
            ("10.0.0.1:6443", "10.0.0.1", 6443, false),
            ("10.0.0.1:6443", "10.0.0.1", 443, true),
            ("10.0.0.0/8", "10.1.2.3", 6443, false),
            ("10.0.0.0/8", "11.1.2.3", 6443, true),
            ("0.0.0.0/0", "11.1.2.3", 6443, false),
            ("10.0.0.0/8", "ten.corp", 6443, true),
            ("10.0.0.0/33", "10.1.2.3", 6443, true),
            ("fd00::/8", "[fd00::7]", 6443, false),
            ("::/0", "[fd00::7]", 6443, false),
            ("fd00::/8", "[fe80::7]", 6443, true),
            ("fd00::7", "[fd00:0::7]", 6443, false),
            ("[fd00::7]:6443", "[fd00::7]", 6443, false),
            ("[fd00::7]:6443", "[fd00::7]", 443, true),
            ("10.0.0.1", "[::ffff:10.0.0.1]", 6443, false),
            ("a.corp, ,,  b.corp ,", "b.corp", 443, false),
            ("a.corp, ,,  b.corp ,", "c.corp", 443, true),
            (":6443", "api.corp", 6443, true),
            ("a b", "api.corp", 443, true),
        ] {
            assert_eq!(
                uses_proxy(host, port, exceptions),
                proxied,
                "{exceptions:?} for {host}:{port}"
            );
        }
    }

    #[test]
    fn a_proxy_is_the_kubeconfigs_or_the_environments() {
        let choose = |server: &str, kubeconfig: Option<&str>, variables: &[(&str, &str)]| {
            let get = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let chosen = choose(&server.parse().unwrap(), kubeconfig, get);
            chosen.map(|proxy| proxy.map(|proxy| shown(&proxy))).map_err(|error| error.to_string())
        };
        let none = Ok(None);
        let some = |proxy: &str| Ok(Some(proxy.to_owned()));
        let server = "https://api.corp:6443";
        let both = [("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")];
        assert_eq!(choose(server, None, &[]), none);
        assert_eq!(choose(server, None, &both), some("http://a:1"));
        assert_eq!(choose(server, None, &[("HTTPS_PROXY", ""), both[1]]), some("http://b:2"));
        assert_eq!(choose("http://api.corp", None, &both), none);
        assert_eq!(choose("http://api.corp", None, &[("http_proxy", "c:3")]), some("http://c:3"));
        assert_eq!(choose(server, None, &[("HTTP_PROXY", "c:3")]), none);
        let except = [both[0], ("no_proxy", ".corp")];
        assert_eq!(choose(server, None, &except), none);
        assert_eq!(choose("https://corp", None, &except), some("http://a:1"));
        let everything = [both[0], ("NO_PROXY", "*")];
        assert_eq!(choose(server, Some("socks5://d"), &everything), some("socks5://d:1080"));
        assert_eq!(choose("https://localhost:6443", Some("d:4"), &[]), some("http://d:4"));
        assert_eq!(choose("https://localhost:6443", None, &both), none);
        assert_eq!(choose(server, Some(""), &both), some("http://a:1"));
        for (proxy, shown) in [
            ("proxy", "http://proxy:80"),
            ("https://proxy", "https://proxy:443"),
            ("socks5h://proxy", "socks5://proxy:1080"),
            ("http://user:s3cret@proxy:3128/", "http://proxy:3128"),
            ("user:s3cret@proxy", "http://proxy:80"),
            ("[::1]:3128", "http://[::1]:3128"),
        ] {
            assert_eq!(choose(server, None, &[("HTTPS_PROXY", proxy)]), some(shown), "{proxy}");
        }
        let wrong = choose(server, None, &[("https_proxy", "ftp://proxy")]).unwrap_err();
        assert_eq!(
            wrong,
            "cannot use the proxy of https_proxy: it is neither http, https nor socks5"
        );
        assert!(choose(server, Some("http://"), &[]).unwrap_err().contains("proxy-url"));
    }
}
