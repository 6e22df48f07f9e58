# Completion of kpexec for bash.
# In ~/.bashrc: source <(kpexec completion bash)

_kpexec() {
    local line=${COMP_LINE:0:COMP_POINT} current=$2 word gap answer value given
    local -a words=() lines=()
    # bash cuts words at = and : as well; those with nothing between them are one.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        gap=$line
        if [[ $word && $line == *"$word"* ]]; then
            gap=${line%%"$word"*}
            line=${line#*"$word"}
        fi
        if [[ $gap || ${#words[@]} -eq 0 ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
    done
    mapfile -t lines < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    answer=${lines[${#lines[@]} - 1]}
    COMPREPLY=()
    [[ $answer == :* ]] || return 0
    [[ $answer == :0 ]] || compopt +o default
    # What stands before the part that bash replaces.
    given=${words[${#words[@]} - 1]}
    [[ $given == --*=* ]] && given=${given#*=}
    given=${given%"$current"}
    for value in "${lines[@]:0:${#lines[@]} - 1}"; do
        value=${value%%$'\t'*}
        value=${value#"$given"}
        # %q alone would put a backslash before a comma.
        [[ $value == *[^[:alnum:]_./:=@,+-]* ]] && printf -v value %q "$value"
        COMPREPLY+=("$value")
    done
}

complete -o default -F _kpexec kpexec
