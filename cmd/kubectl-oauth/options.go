package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/version"
)

// options are what all commands share: which cluster, as whom, and where to write.
type options struct {
	in     io.Reader
	out    io.Writer
	errOut io.Writer

	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// addFlags adds the flags of kubectl that say which cluster, namespace and user.
func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to the kubeconfig file to use for CLI requests.")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// As in kubectl: basic authentication is gone, and -s is short for --server.
	names.AuthOverrideFlags.Username, names.AuthOverrideFlags.Password = clientcmd.FlagInfo{}, clientcmd.FlagInfo{}
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	clientcmd.BindOverrideFlags(&o.overrides, flags, names)
}

func (o *options) config() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
}

// cluster returns the cluster of the kubeconfig, and the namespace that the flags or the kubeconfig
// name.
func (o *options) cluster() (*cluster.Cluster, string, error) {
	config := o.config()
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, "", err
	}
	restConfig, err := config.ClientConfig()
	if err != nil {
		return nil, "", err
	}
	restConfig.UserAgent = version.UserAgent("kubectl")
	restConfig.QPS = -1 // a command sends a handful
	restConfig.WarningHandler = rest.NewWarningWriter(o.errOut, rest.WarningWriterOptions{Deduplicate: true})
	c, err := cluster.New(restConfig)
	return c, namespace, err
}

func (o *options) now() time.Time { return time.Now() }

// outputJSON is the value of -o for programs.
const outputJSON = "json"

func addOutputFlag(command *cobra.Command, output *string) {
	command.Flags().StringVarP(output, "output", "o", "", "Output format: json, or leave it out for people.")
}

func checkOutput(output string) error {
	if output != "" && output != outputJSON {
		return usageError("there is no output format %q: want json, or none", output)
	}
	return nil
}

func (o *options) printJSON(value any) error {
	encoder := json.NewEncoder(o.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
