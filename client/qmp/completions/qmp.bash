
# The server knows the commands, arguments and names: ask it through qmp.
_qmp_with_server() {
    local line="${COMP_LINE:0:COMP_POINT}" candidates word breaks="${COMP_WORDBREAKS//[^=:,]/}"
    mapfile -t candidates < <(qmp complete -- "$line" 2> /dev/null)
    if ((${#candidates[@]} == 0)); then
        _qmp "$@"
        return
    fi
    # Only the part after the last word-breaking character is replaced.
    word="${line##*[[:space:]]}"
    if [[ -n "$breaks" && "$word" == *["$breaks"]* ]]; then
        COMPREPLY=("${candidates[@]#"${word%"${word##*["$breaks"]}"}"}")
    else
        COMPREPLY=("${candidates[@]}")
    fi
    if ((${#COMPREPLY[@]} == 1)) && [[ "${COMPREPLY[0]}" == *[=.] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o bashdefault -o default -F _qmp_with_server qmp
