
# Commands, arguments and names are the server's to know: qmp asks it.
_qmp_with_server() {
    local line="${COMP_LINE:0:COMP_POINT}" candidates word breaks="${COMP_WORDBREAKS//[^=:,]/}"
    mapfile -t candidates < <(qmp complete -- "$line" 2> /dev/null)
    if ((${#candidates[@]} == 0)); then
        _qmp "$@"
        return
    fi
    # Only what stands behind the last character that breaks words is replaced.
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
