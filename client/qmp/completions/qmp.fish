
# The server knows the commands, arguments and names: ask it through qmp.
complete -c qmp -f -a '(qmp complete -- (commandline --cut-at-cursor --current-process) 2> /dev/null)'
