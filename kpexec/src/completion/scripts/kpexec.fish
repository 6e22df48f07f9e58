# Completion of kpexec for fish.
# In ~/.config/fish/config.fish: kpexec completion fish | source

function __kpexec_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    set -l answer $lines[-1]
    set -l prefix (string match -r -- '^--[^=]*=' "$current")
    if test "$answer" = :0
        for file in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
            echo "$prefix$file"
        end
        return
    end
    for line in $lines
        test "$line" = "$answer"; or echo "$prefix$line"
    end
end

complete -c kpexec -f -a '(__kpexec_complete)'
