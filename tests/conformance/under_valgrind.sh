#!/bin/sh
# The daemon under Valgrind's memcheck, for PUSHSERVER_BINARY: an error or a leak is its exit
# status.
exec valgrind --quiet --error-exitcode=77 --leak-check=full \
	--errors-for-leak-kinds=definite,indirect,possible \
	"$(dirname "$0")/../../build/pushserver" "$@"
