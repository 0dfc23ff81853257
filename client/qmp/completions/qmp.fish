
# Commands, arguments and names are the server's to know: qmp asks it.
complete -c qmp -f -a '(qmp complete -- (commandline --cut-at-cursor --current-process) 2> /dev/null)'
