# The cluster that scripts/cluster-demo and scripts/e2e work on.  Sourced after common.sh.
#
# It is the one of the current KUBECONFIG, or else a test cluster that a folder of scripts (up, down, load, exec) makes:
# TEST_CLUSTER, by default ../shared/cluster beside the tree.

TEST_CLUSTER=${TEST_CLUSTER:-$TOP/../shared/cluster}
CLUSTER_OURS=      # 1: this script started the test cluster
CLUSTER_TEST=      # 1: it is the test cluster
CLUSTER_IMAGES=$TOP/build/images    # where the images' archives are
CLUSTER_BUILD=()   # further options of scripts/images

# cluster_get: finds or starts one; sets KUBECONFIG and PATH. Status 77 when there is none, 1 when it does not work; it
# has said why.
cluster_get() {
    if [ -n "${KUBECONFIG:-}" ] || [ -e "$HOME/.kube/config" ]; then
        command -v kubectl >/dev/null || { say "kubectl is missing: https://kubernetes.io/docs/tasks/tools/"; return 1; }
        if kubectl --request-timeout=10s get --raw /livez >/dev/null 2>&1; then
            [ "${KUBECONFIG:-}" = "$(cluster_dir)/admin.conf" ] && CLUSTER_TEST=1
            return 0
        fi
        say "the cluster of ${KUBECONFIG:-$HOME/.kube/config} does not answer: start it, or unset KUBECONFIG to use the test cluster"
        return 1
    fi
    [ -x "$TEST_CLUSTER/up" ] || { say "no cluster: KUBECONFIG is not set, and there is no test cluster in $TEST_CLUSTER (TEST_CLUSTER)"; return 77; }
    [ "$(id -u)" -eq 0 ] || { say "no cluster: the test cluster needs root"; return 77; }
    [ -e "$(cluster_dir)/ready" ] || CLUSTER_OURS=1
    step "test cluster: Kubernetes on this machine" "$TOP/build/log/cluster-up.log" "$TEST_CLUSTER/up" --vpa || return 1
    KUBECONFIG=$(cluster_dir)/admin.conf
    PATH=$(cluster_dir)/bin:$PATH
    CLUSTER_TEST=1
    export KUBECONFIG PATH
}

cluster_dir() { printf '%s' "${CLUSTER_DIR:-${TMPDIR:-/tmp}/test-cluster}"; }

# cluster_down: ends the test cluster, if this script started it.
cluster_down() {
    [ -n "$CLUSTER_OURS" ] || return 0
    step "test cluster: down" "$TOP/build/log/cluster-down.log" "$TEST_CLUSTER/down"
}

# cluster_images [REBUILD [LIMIT]]: builds the images where they are missing, in LIMIT seconds at most, and loads them into
# the cluster.
cluster_images() {
    local dir=$CLUSTER_IMAGES log=$TOP/build/log/images.log kind old rc
    local -a limit=()
    [ -z "${2:-}" ] || limit=(timeout --kill-after=20 "$2")
    if [ -n "${1:-}" ] || [ ! -e "$dir/httpd.tar" ] || [ ! -e "$dir/php-fpm.tar" ]; then
        if [ -n "$CLUSTER_TEST" ] && [ -x "$TEST_CLUSTER/image-base" ]; then
            step "base image" "$TOP/build/log/image-base.log" "${limit[@]}" "$TEST_CLUSTER/image-base" trixie || return 1
        fi
        rc=0
        step "images: build" "$log" "${limit[@]}" "$TOP/scripts/images" "${CLUSTER_BUILD[@]}" --save "$dir" || rc=$?
        # What the step only calls skipped: no builder is here, and why.
        [ $rc -ne 77 ] || tail -n 10 "$log" | sed 's/^/    | /'
        [ $rc -eq 0 ] || return 1
    fi
    old=$(cluster_images_old)
    [ -z "$old" ] || say "  images: $old is newer than those in ${dir#"$TOP"/}; --rebuild makes them anew"
    kind=$(kubectl config current-context 2>/dev/null)
    if [ -n "$CLUSTER_TEST" ]; then
        local loaded mark
        mark=$(cluster_dir)/node1/.loaded   # goes with the nodes
        loaded=$(stat -c '%n %s %y' "$dir/httpd.tar" "$dir/php-fpm.tar")
        [ "$(cat "$mark" 2>/dev/null)" != "$loaded" ] || return 0
        step "images: load into the nodes" "$log" "${limit[@]}" "$TEST_CLUSTER/load" "$dir/httpd.tar" "$dir/php-fpm.tar" || return 1
        printf '%s' "$loaded" >"$mark"
    elif [[ $kind == kind-* ]] && command -v kind >/dev/null; then
        step "images: load into kind" "$log" cluster_load_each kind load image-archive --name "${kind#kind-}" || return 1
    elif [ "$kind" = minikube ] && command -v minikube >/dev/null; then
        step "images: load into minikube" "$log" cluster_load_each minikube image load
    else
        say "  images: this cluster has to find mod-demo/httpd and mod-demo/php-fpm by itself; push $CLUSTER_IMAGES/*.tar"
    fi
}

# cluster_images_old: a file that changed after the archives were built, if there is one
cluster_images_old() {
    (cd "$TOP" && find bootstrap configure.ac Makefile.am lib mod_demo fcgi-sidecar docker -type f \
        -newer "$CLUSTER_IMAGES/httpd.tar" -newer "$CLUSTER_IMAGES/php-fpm.tar" -print -quit)
}

# cluster_load_each COMMAND…: once for each archive
cluster_load_each() {
    local archive
    for archive in "$CLUSTER_IMAGES"/{httpd,php-fpm}.tar; do "$@" "$archive" || return 1; done
}

# cluster_apply: the plain manifests; the autoscaler's only where the cluster knows its kind.
cluster_apply() {
    local file
    local -a files=()
    for file in "$TOP"/kubernetes/*.yaml; do
        if [[ $file == */php-fpm-vpa.yaml ]] && ! kubectl get --raw /apis/autoscaling.k8s.io/v1 >/dev/null 2>&1; then
            say "  no VerticalPodAutoscaler in this cluster: ${file#"$TOP"/} is left out"
        else
            files+=(-f "$file")
        fi
    done
    step "manifests: kubectl apply -f kubernetes/" "$TOP/build/log/apply.log" kubectl apply "${files[@]}"
}

# cluster_clean: deletes the namespace testing. Its pods first and by force: a primary waits for a successor, and none comes.
cluster_clean() {
    kubectl -n testing delete deployments --all --cascade=orphan --ignore-not-found >/dev/null 2>&1 || :
    kubectl -n testing delete replicasets --all --cascade=orphan --ignore-not-found >/dev/null 2>&1 || :
    kubectl -n testing delete pods --all --force --grace-period=0 --ignore-not-found >/dev/null 2>&1 || :
    kubectl delete namespace testing --ignore-not-found --timeout=300s
}
