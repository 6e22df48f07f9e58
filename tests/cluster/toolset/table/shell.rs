//! Shells and what every script needs.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "bash: job control on a terminal",
        r#"
terminal jobs 'bash -i'
keys jobs 'sleep 600' Enter; runs jobs sleep; keys jobs C-z; shows jobs 'Stopped'
keys jobs 'bg' Enter; shows jobs '[1]+ sleep 600 &'
keys jobs 'jobs -r' Enter; shows jobs 'Running'
keys jobs 'fg' Enter; runs jobs sleep; keys jobs C-c
keys jobs 'echo "rc=$?" job=$(jobs | wc -l)' Enter; shows jobs 'rc=130 job=0' && echo controlled
"#,
        &["controlled"],
    ),
    works(
        "bash: line editing and completion",
        r#"
mkdir -p only-one-such-folder
terminal edit 'bash -i'
keys edit 'cho sta""rt' C-a e Enter; shows edit start && echo edited
keys edit 'cd only-o' Tab Enter; keys edit 'echo i""n $PWD' Enter
shows edit "in $W/only-one-such-folder" && echo completed
"#,
        &["edited", "completed"],
    ),
    works(
        "bash: the prompt knows its user",
        r#"bash -ic 'PS1="\u"; echo "<${PS1@P}>"' 2>&1 | grep -q "<$ME>" && echo known"#,
        &["known"],
    ),
    works(
        "whoami and id",
        r#"test "$(whoami)" = "$ME" && test "$(id -un)" = "$ME" && id -gn && id && echo same"#,
        &["same", "uid="],
    ),
    works("sh is a shell", r#"sh -c 'echo $((6 * 7)) "$0"' name"#, &["42 name"]),
    works(
        "zsh with its modules",
        r#"zsh -c 'zmodload zsh/datetime zsh/mathfunc; autoload -Uz compinit colors; colors
((EPOCHSECONDS > 1700000000)) && print $((int(sqrt(81)))) ${(j:-:)${(s: :):-a b c}}'"#,
        &["9 a-b-c"],
    ),
    works(
        "coreutils",
        r#"
seq 20 | shuf --random-source=ca.pem | sort -n | tac | head -1
printf abc | sha256sum; printf abc | base64; stat -c %F /proc
printf 'b 2\na 1\n' | sort | join - <(printf 'a x\nb y\n') | paste -sd,
"#,
        &["20", "ba7816bf8f01cfea", "YWJj", "directory", "a 1 x,b 2 y"],
    ),
    works(
        "ls of /proc and of the target's root",
        r#"ls -ld /; ls /proc/1/task | wc -l; ls -l /proc/1/exe"#,
        &["root root", "4\n", "/app"],
    )
    .but_strangers(
        2,
        &["root root", "4\n", "cannot read symbolic link '/proc/1/exe': Permission denied"],
    ),
    works(
        "find, xargs and grep",
        r#"
mkdir -p f/a f/b; echo needle >f/b/x; echo hay >f/a/y
find f -type f -print0 | xargs -0 grep -l needle; find f -name '*y' -exec cat {} +
echo abc | grep -oP '(?<=a)b'
"#,
        &["f/b/x", "hay", "\nb"],
    ),
    works(
        "sed, diff and cmp",
        r#"
printf '1\n2\n' >a.txt; sed 's/2/two/' a.txt >b.txt; sed -n '$=' a.txt
diff -u a.txt b.txt; cmp a.txt b.txt; true
"#,
        &["-2\n+two", "differ: byte 3"],
    ),
    works(
        "awk runs commands",
        r#"
gawk 'BEGIN { system("echo by-gawk"); "echo piped" | getline x; print x, strftime("%Y", 0) }'
mawk 'BEGIN { system("echo by-mawk") }'; awk 'BEGIN { printf "%.3f\n", atan2(0, -1) }'
"#,
        &["by-gawk", "piped 19", "by-mawk", "3.142"],
    ),
    works(
        "text is UTF-8",
        r#"locale charmap; printf 'äöü' | wc -m; printf 'ä' | iconv -t ISO-8859-1 | xxd -p
printf 'ÄÖ' | sed 's/./\L&/g'"#,
        &["UTF-8\n3\ne4\näö"],
    ),
    works(
        "tar by way of gzip, bzip2, xz and zstd",
        r#"
mkdir -p t; echo content >t/file
for by in -z -j -J --zstd; do
	tar "$by" -cf t.tar t && rm -rf u && mkdir u && tar -C u -xf t.tar && cmp t/file u/t/file &&
		echo "packed $by"
done
tar -czf - t | tar -tzf -
"#,
        &["packed -z", "packed -j", "packed -J", "packed --zstd", "t/file"],
    ),
    works(
        "gzip, xz and zstd back and forth",
        r#"for c in gzip bzip2 xz zstd; do seq 9 | $c -c | $c -dc | md5sum; done | sort | uniq -c"#,
        &["4 22e400a2ddbb013acf2a5852d6ab69fc"],
    ),
    works(
        "unzip",
        r#"
python3 -c 'import zipfile; z = zipfile.ZipFile("z.zip", "w", 8); z.writestr("d/in.txt", "zipped\n")'
unzip -l z.zip; unzip -p z.zip d/in.txt
"#,
        &["d/in.txt", "\nzipped"],
    ),
    works(
        "rsync",
        r#"
mkdir -p from/d; seq 1000 >from/d/file; rsync -a --delete --stats from/ to/
diff -r from to && rsync -ain from/ to/ && echo in-sync
"#,
        &["Number of regular files transferred: 1", "in-sync"],
    ),
    works(
        "jq",
        r#"echo '{"a": [{"b": 1}, {"b": 2}]}' | jq -c '[.a[].b] | {sum: add, m: (tostring | test("1.2"))}'
date -u -d @0 +%FT%TZ | jq -R fromdate"#,
        &[r#"{"sum":3,"m":true}"#, "\n0"],
    ),
    works(
        "file knows types",
        r#"file -L /proc/self/exe; printf '\211PNG\r\n\032\n' >p; file -b --mime-type p"#,
        &["ELF 64-bit LSB", "application/octet-stream"],
    ),
    works(
        "tree, column, hexdump, xxd",
        r#"
mkdir -p g/h; tree g; printf 'a b\nccc d\n' | column -t; printf AB | hexdump -C
printf AB | xxd -p | xxd -r -p
"#,
        &["└── h", "a    b", "41 42", "\nAB"],
    ),
];
