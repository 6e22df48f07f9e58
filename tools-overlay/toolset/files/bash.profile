# Read by every login bash of the toolset, such as those of tmux.
case $- in *i*) . /.kpexec/bash.rc ;; esac
