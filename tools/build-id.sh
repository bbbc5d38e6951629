#!/bin/sh
# What the source tree is: git's name for it, and where there are changes that are not committed a digest of them.
set -eu
cd "$(dirname "$0")/.."
id=$(git describe --always --dirty --abbrev=12)
case $id in
*-dirty) id=$id-$(git diff HEAD | git hash-object --stdin | cut -c1-12) ;;
esac
echo "$id"
