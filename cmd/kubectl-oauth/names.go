package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = 3 * time.Second

// completeNames completes the one argument of a command by the objects that the caller may list.
func (o *options) completeNames(kinds ...cluster.Kind) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, namespace, err := o.cluster()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		var names []string
		for _, kind := range kinds {
			list := kind.NewList()
			if err := c.List(ctx, list, namespace); err != nil {
				continue // one that the caller may not list
			}
			_ = meta.EachListItem(list, func(item runtime.Object) error {
				object, err := meta.Accessor(item)
				if err == nil {
					names = append(names, kind.Word+"/"+object.GetName())
				}
				return nil
			})
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
