// Command cert-manager is cert-manager's controllers for Certificates and for issuers of the types SelfSigned and CA, built from its Go
// module, for the end-to-end tests. Its own programs are in modules that cannot be fetched, so this one takes their place: it starts the
// controllers of the packages below pkg/controller as they do. It has no webhook: nothing but the schema checks what is applied.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	crca "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	crselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// controllers that issue a certificate, by name.
var controllers = []string{
	issuers.ControllerName, trigger.ControllerName, keymanager.ControllerName, requestmanager.ControllerName, issuing.ControllerName,
	readiness.ControllerName, revisionmanager.ControllerName, approver.ControllerName, crca.CRControllerName, crselfsigned.CRControllerName,
}

// workers of each controller.
const workers = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(klog.NewContext(ctx, klog.Background())); err != nil {
		fmt.Fprintln(os.Stderr, "cert-manager: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: "cert-manager"},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Second, CertificateRequestMaximumBackoffDuration: time.Minute,
		},
	})
	if err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	running := map[string]controller.Interface{}
	for _, name := range controllers {
		construct, ok := controller.Known()[name]
		if !ok {
			return fmt.Errorf("there is no controller %s", name)
		}
		if running[name], err = construct(factory); err != nil {
			return fmt.Errorf("setting up the controller %s: %w", name, err)
		}
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("setting up the informers: %w", err)
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	var group sync.WaitGroup
	failed := make(chan error, len(running))
	for name, c := range running {
		group.Go(func() {
			if err := c.Run(workers, ctx); err != nil {
				failed <- fmt.Errorf("running the controller %s: %w", name, err)
			}
		})
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		group.Wait()
		return nil
	}
}
