//! Programs that fill a terminal.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "vim edits a file",
        r#"
printf 'one\n' >v.txt; terminal vim 'vim v.txt'
shows vim one; keys vim -l 'Gotwo'; keys vim Escape; keys vim -l ':%s/one/1/'; keys vim Enter
keys vim -l ':wq'; keys vim Enter
for ((i = 0; i < 999; i++)); do [ "$(sed -n '$p' v.txt)" = two ] && break; sleep .03; done; cat v.txt
"#,
        &["1\ntwo"],
    ),
    works(
        "vim has its run-time files",
        r#"printf '#!/bin/bash\nif true; then :; fi\n' >s.sh
terminal runtime 'vim s.sh'; shows runtime 'bin/bash'
keys runtime -l ':syntax on'; keys runtime Enter
keys runtime -l ':echo "s=" . exists("syntax_on") . (filereadable($VIMRUNTIME . "/syntax/sh.vim"))'
keys runtime Enter; shows runtime 's=11' && echo highlights"#,
        &["highlights"],
    ),
    works("vi is there", r#"vi --version"#, &["VIM - Vi IMproved"]),
    works(
        "nano edits a file",
        r#"
terminal nano 'nano n.txt'; shows nano 'GNU nano'; keys nano -l 'by nano'; keys nano C-o Enter
shows nano 'Wrote 1 line'; keys nano C-x; cat n.txt
"#,
        &["by nano"],
    ),
    works(
        "less searches",
        r#"seq 5000 >l.txt; terminal less 'less l.txt'; shows less 25; keys less -l /4711; keys less Enter
shows less 4730 && [[ $(screen less) != *4701* ]] && echo found"#,
        &["found"],
    ),
    works(
        "htop",
        r#"terminal htop htop; shows htop 'Load average'; shows htop /app && echo seen"#,
        &["seen"],
    ),
    works(
        "top",
        r#"terminal top top; shows top '%Cpu'; shows top app && echo seen; top -bn1 -p 1 | tail -1"#,
        &["seen", "app"],
    ),
    works(
        "a login shell, as in tmux, has the prompt too",
        r#"tmux -S "$W/tmux" new-session -d -s login -x 100 -y 30; shows login "$KPEXEC_POD/$KPEXEC_CONTAINER:" &&
keys login 'set -o | grep hist; echo "<$HISTFILE>"' Enter && shows login '<>' && echo seen"#,
        &["seen"],
    ),
    works(
        "tmux splits",
        r#"terminal mux 'sleep 60'; tmux -S "$W/tmux" split-window -t mux 'sleep 61'
for ((i = 0; i < 999; i++)); do
	panes=$(tmux -S "$W/tmux" list-panes -t mux -F '#{pane_index} #{pane_current_command}')
	case $panes in '0 sleep'*'1 sleep') break ;; esac; sleep .03
done; echo "$panes""#,
        &["0 sleep\n1 sleep"],
    ),
    works(
        "watch",
        r#"terminal watch 'watch -n 1 echo wat""ched'; shows watch watched && echo seen"#,
        &["seen"],
    ),
    works(
        "script makes a terminal with a name",
        r#"TERM=xterm-256color script -qec 'tty; stty size; tput colors' /dev/null"#,
        &["/dev/pts/", "256"],
    ),
    works(
        "terminals are known by name",
        r#"for t in xterm xterm-256color screen tmux linux vt100 rxvt-unicode tmux-256color; do
infocmp "$t" >/dev/null && printf '%s ' "$t"; done"#,
        &["xterm xterm-256color screen tmux linux vt100 rxvt-unicode tmux-256color "],
    ),
    works(
        "python curses",
        r#"cat >c.py <<'X'
import curses
def main(s):
    s.addstr(2, 4, "curses in %d columns" % curses.COLS)
    s.refresh(); s.getch()
curses.wrapper(main)
X
terminal curses 'python3 c.py'; shows curses 'curses in 100 columns' && echo drawn"#,
        &["drawn"],
    ),
    works(
        "the terminal of mtr, iftop and the like: ncurses in colour",
        r#"TERM=xterm-256color tput setaf 1 | xxd -p"#,
        &["1b5b33316d"],
    ),
];
