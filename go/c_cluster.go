//go:build cgo && !corelane_stub

package corelane

/*
#include <corelane.h>
*/
import "C"

import (
	"math"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

type clusterHandle struct{ c C.corelane_cluster }
type claimHandle struct{ c C.corelane_claim }

func (h routerHandle) joinCluster(o *ClusterOptions) (clusterHandle, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	number := func(value int) C.uint32_t { return C.uint32_t(min(value, math.MaxInt32)) }
	given := C.corelane_cluster_options{
		size:     C.uint32_t(unsafe.Sizeof(C.corelane_cluster_options{})),
		replicas: number(o.Replicas), names: C.size_t(o.Names), rooms: C.size_t(o.Rooms),
		link_messages: number(o.LinkMessages), link_bytes: number(o.LinkBytes),
	}
	given.servers, given.servers_length = pinnedText(&pins, strings.Join(o.Servers, ","))
	given.cluster, given.cluster_length = pinnedText(&pins, o.Cluster)
	given.machine, given.machine_length = pinnedText(&pins, o.Machine)
	given.credentials_file, given.credentials_file_length = pinnedText(&pins, o.CredentialsFile)
	given.user, given.user_length = pinnedText(&pins, o.User)
	given.password, given.password_length = pinnedText(&pins, o.Password)
	given.ca_file, given.ca_file_length = pinnedText(&pins, o.CAFile)
	given.certificate_file, given.certificate_file_length = pinnedText(&pins, o.CertificateFile)
	given.key_file, given.key_file_length = pinnedText(&pins, o.KeyFile)
	secret, length := pinnedText(&pins, string(o.Secret))
	given.secret, given.secret_length = (*C.uint8_t)(unsafe.Pointer(secret)), length
	var handle clusterHandle
	detail := newError()
	err := failure(C.corelane_router_join_cluster(h.c, &given, &handle.c, &detail), &detail)
	return handle, err
}

func (h clusterHandle) descriptor() (int, error) {
	descriptor := C.corelane_cluster_fd(h.c)
	return int(descriptor), failure(descriptor, nil)
}

func (h clusterHandle) claim(name, token string, correlation uint64) (claimHandle, error) {
	var claim claimHandle
	n, nn := text(name)
	t, tn := text(token)
	err := failure(C.corelane_cluster_claim_start(h.c, n, nn, t, tn, C.uint64_t(correlation), &claim.c), nil)
	return claim, err
}

func (h clusterHandle) releaseClaim(claim claimHandle) error {
	return failure(C.corelane_claim_release(h.c, claim.c), nil)
}

// next returns ErrAgain if no event waits.
func (h clusterHandle) next() (clusterEvent, error) {
	one := C.corelane_cluster_event{size: C.uint32_t(unsafe.Sizeof(C.corelane_cluster_event{}))}
	if err := failure(C.corelane_cluster_next(h.c, &one), nil); err != nil {
		return clusterEvent{}, err
	}
	event := clusterEvent{
		correlation: uint64(one.correlation), isAnswer: one.kind == C.CORELANE_CLUSTER_CLAIMED, reason: LostReason(one.reason),
	}
	event.answer = failure(one.status, nil)
	return event, nil
}

func (h clusterHandle) status() (string, error) {
	out := newText()
	if err := failure(C.corelane_cluster_status(h.c, &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h clusterHandle) names(limit int, timeout time.Duration) (string, error) {
	out := newText()
	if err := failure(C.corelane_cluster_names(h.c, C.size_t(max(limit, 0)), C.uint64_t(max(timeout, 0)), &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h clusterHandle) isJoined() bool { return C.corelane_cluster_is_joined(h.c) > 0 }
func (h clusterHandle) drain() error   { return failure(C.corelane_cluster_drain(h.c), nil) }
func (h clusterHandle) release() error { return failure(C.corelane_cluster_release(h.c), nil) }
