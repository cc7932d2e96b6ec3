# Completion of sluice(8) for bash. The candidates come from the program itself: it knows its table of commands.
_sluice() {
	local cur=${COMP_WORDS[COMP_CWORD]} i words=() global=() out
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-i | -s | --instance | --socket)
			global+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
			((i++))
			;;
		-*)
			[[ ${COMP_WORDS[i]} == --dry-run || ${COMP_WORDS[i]} == --confirm || ${COMP_WORDS[i]} == --check ]] &&
				words+=("${COMP_WORDS[i]}")
			;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	out=$("${COMP_WORDS[0]}" __complete "${global[@]}" -- "${words[@]}" "$cur" 2>/dev/null)
	if [[ $out == "<file>" ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -W "$out" -- "$cur")
	fi
}
complete -F _sluice sluice
