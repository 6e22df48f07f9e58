//! Variables of the target that never reach a program of ours: they make a
//! loader, an interpreter or a shell run code, read and write files of the
//! target's choice, or speak of another terminal or user than the session's
//! (threat model, A3; CVE-2025-23266).

/// Whose they are, and their names; one that ends in `*` is a whole family.
const WITHHELD: &[(&str, &str)] = &[
    // What ld.so itself takes from set-user-ID programs (ld.so(8),
    // "Secure-execution mode"), but for two that tell the resolver how to ask:
    // who looks for a fault of the target's wants its answers.
    (
        "glibc",
        "LD_* GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LOCPATH MALLOC_* NIS_PATH NLSPATH \
         RESOLV_HOST_CONF TMPDIR TZDIR",
    ),
    ("gettext", "LANGUAGE LC_* OUTPUT_CHARSET TEXTDOMAIN*"),
    ("bash", "BASH* CDPATH ENV EXECIGNORE FCEDIT FIGNORE FUNCNEST GLOBIGNORE HIST* HOSTFILE IFS"),
    ("shells", "MAIL MAILCHECK MAILPATH POSIXLY_CORRECT PROMPT* PS* SHELL SHELLOPTS TMOUT"),
    ("zsh", "FPATH NULLCMD READNULLCMD RPROMPT* RPS* SPROMPT STTY ZDOTDIR"),
    ("readline", "INPUTRC"),
    ("the terminal", "COLUMNS LINES LS_COLORS NCURSES_* STY TERM TERMCAP TERMINFO* TERMPATH TMUX*"),
    ("the user", "LOGNAME USER USERNAME"),
    ("editors and pagers", "EDITOR EXINIT GVIMINIT LESS* MANPAGER MORE MYVIMRC PAGER VIM* VISUAL"),
    ("whoever opens a page or asks for a password", "BROWSER SSH_ASKPASS*"),
    ("archivers", "BZIP BZIP2 GZIP RSH RSYNC_* TAPE TAR_* UNZIP UNZIPOPT XZ_* ZIPOPT"),
    ("TLS", "CTLOG_FILE GNUTLS_* OPENSSL_* RANDFILE SSLKEYLOGFILE SSL_CERT_DIR SSL_CERT_FILE"),
    ("curl and wget", "CURL_* NETRC QLOGDIR SYSTEM_WGETRC WGETRC"),
    ("what curl is linked with", "GSS_* KRB5* LDAPCONF LDAPRC LDAPTLS_* P11_KIT_* SASL_*"),
    ("what dig is linked with", "ICU_DATA XML_CATALOG_FILES"),
    ("iproute2, iptables", "IP6TABLES_* IPTABLES_* IP_LIB_DIR PROC_ROOT TC_LIB_DIR XTABLES_*"),
    ("network tools", "MTR_* NMAP*"),
    ("util-linux", "BLKID_* LIBMOUNT_*"),
    ("tools that read a file of their own", "HTOPRC LSOF* MAGIC"),
    ("awk", "AWKLIBPATH AWKPATH GAWK_*"),
    ("git", "GIT_*"),
    ("gdb, perf, bpftrace", "BPFTRACE_* DEBUGINFOD_* GDBHIST* GUILE_* PERF_*"),
    ("interpreters", "JAVA_TOOL_* LUA_* NODE_OPTIONS PERL* PYTHON* RUBY*"),
    ("freedesktop.org", "XDG_*"),
];

/// Whether a variable of the target is left out.
pub(super) fn is_withheld(name: &str) -> bool {
    let mut names = WITHHELD.iter().flat_map(|(_, names)| names.split_ascii_whitespace());
    names.any(|withheld| match withheld.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => name == withheld,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_families_are_known() {
        // Each runs code: a loader's, a shell's, tar's, rsync's, perf's, mtr's,
        // tc's, SASL's.
        for name in [
            "LD_AUDIT",
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "BASH_COMPLETION_USER_FILE",
            "TAR_OPTIONS",
            "RSYNC_RSH",
            "PERF_EXEC_PATH",
            "MTR_PACKET",
            "TC_LIB_DIR",
            "SASL_PATH",
            "LESS",
        ] {
            assert!(is_withheld(name), "{name}");
        }
    }

    #[test]
    fn what_begins_alike_is_not_the_same() {
        for name in ["LDAP", "ENVIRONMENT", "TERMS", "MAILGUN_KEY", "IFSC", "USERS", "HOME", "TZ"] {
            assert!(!is_withheld(name), "{name}");
        }
        // Debugging a container, one wants its resolver and its proxy.
        for name in ["RES_OPTIONS", "LOCALDOMAIN", "http_proxy", "NO_PROXY"] {
            assert!(!is_withheld(name), "{name}");
        }
    }
}
