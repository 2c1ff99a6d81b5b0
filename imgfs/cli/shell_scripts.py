"""The scripts by which shells ask `cli.complete` for what may come next; tried by its tests."""

from collections.abc import Mapping

SCRIPTS: Mapping[str, str] = {
    "bash": """\
_imgfs_completion() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDBREAKS=$COMP_WORDBREAKS _IMGFS_COMPLETE=bash \\
        imgfs "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o nospace -F _imgfs_completion imgfs
""",
    "zsh": """\
#compdef imgfs
_imgfs() {
    local line
    local -a ends more
    for line in "${(@f)$(_IMGFS_COMPLETE=zsh imgfs "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}"; do
        line=${line%%$'\\t'*}
        if [[ $line == *' ' ]]; then ends+=("${line% }"); elif [[ -n $line ]]; then more+=("$line"); fi
    done
    compadd -a ends
    compadd -S '' -a more
}
if [ "$funcstack[1]" = "_imgfs" ]; then _imgfs "$@"; else compdef _imgfs imgfs; fi
""",
    "fish": """\
complete --command imgfs --no-files --arguments \\
    '(_IMGFS_COMPLETE=fish imgfs (commandline --cut-at-cursor --current-process) 2>/dev/null)'
""",
}
"""A script for each shell that has it ask for what may come next."""
