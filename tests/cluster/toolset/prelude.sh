# Read before the rows of the matrix, by a bash of the toolset, which is told
# PORT, the first of ten free ports, and ME, the user's name.
set -u
W=/dev/shm/matrix
mkdir -p "$W" && cd "$W" || exit
export W PORT ME
TLS=$PORT HTTPS=$((PORT + 1)) FREE=$((PORT + 2))
export TLS HTTPS FREE

# terminal NAME COMMAND: runs it on a terminal of its own.
terminal() {
	# Else the server may be about to end with the terminal before.
	tmux -S "$W/tmux" new-session -d -s "$1" -x 100 -y 30 "$2" ';' set-option -s exit-empty off
}

# keys NAME KEY...: types there.
keys() {
	tmux -S "$W/tmux" send-keys -t "$@"
}

# screen NAME: what is to be seen there.
screen() {
	tmux -S "$W/tmux" capture-pane -p -t "$1" 2>&1
}

# A busy machine is slow; less than the time limit of a row.
PATIENCE=40
export PATIENCE

# shows NAME TEXT: waits until it is to be seen there.
shows() {
	local screen end=$((SECONDS + PATIENCE))
	while ((SECONDS < end)); do
		screen=$(screen "$1")
		case $screen in *"$2"*) return 0 ;; esac
		sleep .03
	done
	printf 'not shown: %s\n%s\n' "$2" "$screen"
	return 1
}

# runs NAME PROGRAM: waits until keys there are for a job of that program.
runs() {
	local program end=$((SECONDS + PATIENCE))
	while ((SECONDS < end)); do
		program=$(tmux -S "$W/tmux" list-panes -t "$1" -F '#{pane_current_command}')
		case $program in "$2") return 0 ;; esac
		sleep .03
	done
	echo "$program runs, and not $2"
	return 1
}

# listens PORT: waits until somebody does.
listens() {
	local end=$((SECONDS + PATIENCE))
	while ((SECONDS < end)); do
		if [[ $(ss -Htuln "sport = :$1") ]]; then return 0; fi
		sleep .03
	done
	echo "nobody listens on port $1"
	return 1
}
export -f terminal keys screen shows runs listens

# An authority nobody knows, and a server it vouches for.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost \
	-keyout key.pem -out ca.pem 2>openssl.log || cat openssl.log
echo 'served over TLS' >page.txt
openssl s_server -quiet -accept "127.0.0.1:$TLS" -cert ca.pem -key key.pem -WWW \
	</dev/null >server.log 2>&1 &
listens "$TLS"
