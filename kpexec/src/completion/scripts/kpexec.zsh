#compdef kpexec
# Completion of kpexec for zsh.
# In ~/.zshrc, behind compinit: source <(kpexec completion zsh)
# Or once: kpexec completion zsh > "${fpath[1]}/_kpexec"

_kpexec() {
    local answer line
    local -a lines candidates
    lines=("${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    answer=${lines[-1]}
    [[ $answer == :* ]] || return 1
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    for line in "${(@)lines[1,-2]}"; do
        # _describe has a colon where we have a tab.
        line=${line//:/\\:}
        candidates+=("${line/$'\t'/:}")
    done
    if (( ${#candidates} )); then
        _describe kpexec candidates
    elif [[ $answer == :0 ]]; then
        _files
    fi
}

# Read as a file of fpath it is called; sourced it is registered.
if [[ ${funcstack[1]} == _kpexec ]]; then
    _kpexec "$@"
else
    compdef _kpexec kpexec
fi
