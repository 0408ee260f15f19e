// Command tokenserver serves the OAuth 2.0 and OpenID Connect endpoints of one AuthorizationServer,
// from the documents that the manager writes into the cluster. Deployments and the local
// environment start it. It is configured by flags alone.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // time zones, for an image without files

	_ "golang.org/x/crypto/x509roots/fallback" // public CA roots, for an image without files
	"k8s.io/klog/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/batchlog"
	"github.com/oauth-operator/oauth-operator/tokenserver/tracing"
	"github.com/oauth-operator/oauth-operator/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal kills the process
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tokenserver: "+err.Error())
		os.Exit(1)
	}
}

// run parses the flags and serves until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	log, flushLog := batchlog.New(stdout)
	defer func() { _ = flushLog() }() // the program ends either way
	klog.SetSlogLogger(log)
	o := tokenserver.Options{Now: time.Now, Random: rand.Reader, Log: log}
	flags := flag.NewFlagSet("tokenserver", flag.ContinueOnError)
	flags.StringVar(&o.Namespace, "namespace", "", "namespace of the AuthorizationServer")
	flags.StringVar(&o.ServerName, "server-name", "", "name of the AuthorizationServer")
	flags.StringVar(&o.ServerUID, "server-uid", "", "UID of the AuthorizationServer")
	flags.StringVar(&o.ReplicaName, "replica-name", "", "name of the Replica object of this process")
	flags.StringVar(&o.PodUID, "pod-uid", "", "UID of the Pod of this process, if there is one; its name is that of the Replica, which is deleted with it")
	flags.StringVar(&o.Listen, "listen", ":8080", "address of the endpoints")
	flags.StringVar(&o.StatusListen, "status-listen", ":8081", "address of /livez, /readyz and /metrics")
	flags.StringVar(&o.KeysDir, "keys-dir", "", "directory of the signing and sealing keys")
	flags.StringVar(&o.UpstreamsDir, "upstreams-dir", "",
		"directory of the credentials for identity providers; without it there are none")
	flags.StringVar(&o.TLSDir, "tls-dir", "", "directory of tls.crt and tls.key; without it the endpoints speak plain HTTP")
	flags.StringVar(&o.Storage, "storage", "kubernetes", "storage of grants: kubernetes, memory or postgresql, as spec.storage.type of the AuthorizationServer says")
	flags.StringVar(&o.DSNFile, "storage-dsn-file", "", "file with the DSN of the database, for --storage=postgresql")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "file that says how to reach the API server; not needed inside a Pod")
	flags.DurationVar(&o.ShutdownDelay, "shutdown-delay", 15*time.Second,
		"how long to serve on after SIGTERM, not ready and with Connection: close on each response, so that clients move to other replicas")
	printVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if *printVersion {
		_, err := fmt.Fprintln(stdout, version.String())
		return err
	}
	log.Info("starting", "version", version.Version(), "commit", version.Commit())
	var flushSpans func()
	var err error
	o.Tracer, flushSpans, err = tracing.New(ctx, tracing.Config{
		Getenv: os.Getenv, Namespace: o.Namespace, ServerName: o.ServerName, ReplicaName: o.ReplicaName,
		Version: version.Version(), Now: time.Now, Log: log,
	})
	if err != nil {
		return err
	}
	defer flushSpans()
	return tokenserver.Run(ctx, o)
}
