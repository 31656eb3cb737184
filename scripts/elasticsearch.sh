#!/usr/bin/env bash
# Runs tests/elasticsearch with a real OpenSearch, which it gets from Maven Central (94 archives, once; target/opensearch).
set -euo pipefail
cd "$(dirname "$0")/.."
here=$(realpath tests/elasticsearch/server)
work=$(realpath -m target/opensearch)
mkdir -p "$work"
if [[ ! -s $work/classpath || $here/pom.xml -nt $work/classpath ]]; then
    (cd "$here" && mvn -q -B -f pom.xml dependency:build-classpath -Dmdep.outputFile="$work/classpath.new" -DbuildDirectory="$work")
    mv "$work/classpath.new" "$work/classpath"
fi
classpath=$(<"$work/classpath")
javac -nowarn -cp "$classpath" -d "$work" "$here/Server.java"
export CORELANE_OPENSEARCH="java -Xms256m -Xmx512m -cp $work:$classpath Server"
export CORELANE_ELASTICSEARCH_SUITE=1
cargo test --test elasticsearch -- --nocapture "$@"
