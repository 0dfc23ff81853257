# The server knows the commands, arguments and names: ask it through qmp.
_qmp() {
    local -a candidates
    candidates=("${(@f)$(qmp complete -- "${(j: :)${(@q)words[1,CURRENT-1]}} $PREFIX" 2> /dev/null)}")
    candidates=(${candidates:#})
    if (( $#candidates == 0 )); then
        _qmp_options "$@"
        return
    fi
    local -a open closed
    open=(${(M)candidates:#*[=.]})
    closed=(${candidates:#*[=.]})
    compadd -Q -S '' -a open
    compadd -Q -a closed
}

