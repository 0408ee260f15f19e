package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

type swapOptions struct {
	records                    int
	kubeconfig, namespace, dsn string
}

// swapper reads one record, or changes it by compare-and-swap. Each record is changed by one request
// at a time, so that no swap fails.
type swapper struct{ free chan record }

// record that can be changed. It knows its version.
type record interface {
	read(ctx context.Context) error
	swap(ctx context.Context) error
}

func newSwapper(ctx context.Context, o swapOptions) (*swapper, error) {
	var records []record
	var err error
	switch {
	case o.kubeconfig != "":
		records, err = objects(ctx, o)
	case o.dsn != "":
		records, err = rows(ctx, o)
	default:
		records = values(o.records)
	}
	if err != nil {
		return nil, err
	}
	s := &swapper{make(chan record, len(records))}
	for _, r := range records {
		s.free <- r
	}
	return s, nil
}

// one record is changed. There is no token to give.
func (s *swapper) one(ctx context.Context) (string, error) {
	r := <-s.free
	defer func() { s.free <- r }()
	return "", r.swap(ctx)
}

// read is like one, and changes nothing.
func (s *swapper) read(ctx context.Context) (string, error) {
	r := <-s.free
	defer func() { s.free <- r }()
	return "", r.read(ctx)
}

// memory is a map behind a lock.
type memory struct {
	mu       sync.Mutex
	versions map[string]int
}

type value struct {
	in      *memory
	key     string
	version int
}

func values(n int) []record {
	m := &memory{versions: map[string]int{}}
	var all []record
	for i := range n {
		all = append(all, &value{in: m, key: strconv.Itoa(i)})
	}
	return all
}

func (v *value) read(context.Context) error {
	v.in.mu.Lock()
	defer v.in.mu.Unlock()
	if v.in.versions[v.key] != v.version {
		return errors.New("another version")
	}
	return nil
}

func (v *value) swap(context.Context) error {
	v.in.mu.Lock()
	defer v.in.mu.Unlock()
	if v.in.versions[v.key] != v.version {
		return errors.New("another version")
	}
	v.version++
	v.in.versions[v.key] = v.version
	return nil
}

// object is an OAuthGrant; the API server compares resource versions.
type object struct {
	client rest.Interface
	grant  *v1alpha1.OAuthGrant
}

// objects are copies of OAuthGrants. They belong to no server, so that no token server looks at
// them.
func objects(ctx context.Context, o swapOptions) ([]record, error) {
	client, err := kubernetes(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	there := &v1alpha1.OAuthGrantList{}
	list := client.Get().Namespace(o.namespace).Resource("oauthgrants").VersionedParams(&metav1.ListOptions{Limit: 1}, metav1.ParameterCodec)
	if err := list.Do(ctx).Into(there); err != nil {
		return nil, err
	}
	if len(there.Items) == 0 {
		return nil, errors.New("there is no OAuthGrant to copy")
	}
	var all []record
	for i := range o.records {
		grant := there.Items[0].DeepCopy()
		grant.Name, grant.ResourceVersion, grant.UID = fmt.Sprintf("grant-%040d", i), "", ""
		grant.Labels[v1alpha1.ServerUIDLabel] = strings.Repeat("0", len(grant.Labels[v1alpha1.ServerUIDLabel]))
		created := &v1alpha1.OAuthGrant{}
		if err := client.Post().Namespace(o.namespace).Resource("oauthgrants").Body(grant).Do(ctx).Into(created); err != nil {
			return nil, err
		}
		all = append(all, &object{client, created})
	}
	return all, nil
}

func kubernetes(kubeconfig string) (rest.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config.QPS, config.APIPath, config.GroupVersion = -1, "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(config)
}

func (o *object) read(ctx context.Context) error {
	return o.client.Get().Namespace(o.grant.Namespace).Resource("oauthgrants").Name(o.grant.Name).Do(ctx).Into(&v1alpha1.OAuthGrant{})
}

func (o *object) swap(ctx context.Context) error {
	o.grant.Spec.RefreshTokenNumber++
	updated := &v1alpha1.OAuthGrant{}
	err := o.client.Put().Namespace(o.grant.Namespace).Resource("oauthgrants").Name(o.grant.Name).Body(o.grant).Do(ctx).Into(updated)
	if err != nil {
		return err
	}
	o.grant = updated
	return nil
}

// row of a table like that of the grants.
type row struct {
	pool                *pgxpool.Pool
	server, id, version string
}

// rows are copies of grants, in a table of their own.
func rows(ctx context.Context, o swapOptions) ([]record, error) {
	pool, err := pgxpool.New(ctx, o.dsn)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"DROP TABLE IF EXISTS floor_grants",
		"CREATE TABLE floor_grants AS SELECT * FROM oauth_grants LIMIT " + strconv.Itoa(o.records),
		"ALTER TABLE floor_grants ADD PRIMARY KEY (server_uid, id)",
		"CREATE INDEX ON floor_grants (expires_at, server_uid, ended_at)",
	} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	found, err := pool.Query(ctx, "SELECT server_uid, id, version FROM floor_grants")
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var all []record
	for found.Next() {
		r := &row{pool: pool}
		if err := found.Scan(&r.server, &r.id, &r.version); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no grant to copy")
	}
	return all, found.Err()
}

func (r *row) read(ctx context.Context) error {
	found, err := r.pool.Query(ctx, "SELECT * FROM floor_grants WHERE server_uid = $1 AND id = $2", r.server, r.id)
	if err != nil {
		return err
	}
	values, err := pgx.CollectExactlyOneRow(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err == nil && len(values) == 0 {
		err = errors.New("the record has no columns")
	}
	return err
}

func (r *row) swap(ctx context.Context) error {
	now := time.Now()
	next := strconv.FormatInt(now.UnixNano(), 36)
	changed, err := r.pool.Exec(ctx, `UPDATE floor_grants SET version = $4, attempt = $4, generation = generation + 1, advanced_at = $5, last_used = $5,
		expires_at = $5 WHERE server_uid = $1 AND id = $2 AND version = $3`, r.server, r.id, r.version, next, now)
	switch {
	case err != nil:
		return err
	case changed.RowsAffected() != 1:
		return errors.New("another version")
	}
	r.version = next
	return nil
}
