package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// scriptTimeout is how long Argo CD lets a script run.
const scriptTimeout = time.Second

// argocd is the data of Argo CD's ConfigMap.
type argocd map[string]string

func readScripts(file string) (argocd, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content, &configMap); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return configMap.Data, nil
}

// judge runs the script for the object's kind. For an object that is being deleted Argo CD runs none;
// an object of a kind without a script has no health.
func (a argocd) judge(ctx context.Context, object *unstructured.Unstructured) (judgement, error) {
	if object.GetDeletionTimestamp() != nil {
		return judgement{Status: "Progressing", Message: "Pending deletion"}, nil
	}
	kind := object.GroupVersionKind()
	script, found := a["resource.customizations.health."+kind.Group+"_"+kind.Kind]
	if !found {
		return judgement{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	state, err := newState(ctx)
	if err != nil {
		return judgement{}, err
	}
	defer state.Close()
	state.SetGlobal("obj", valueOf(state, object.Object))
	if err := state.DoString(script); err != nil {
		return judgement{}, err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return judgement{}, fmt.Errorf("the script returns a %s, not a table", state.Get(-1).Type())
	}
	said := judgement{Status: lua.LVAsString(health.RawGetString("status")), Message: lua.LVAsString(health.RawGetString("message"))}
	if !slices.Contains([]string{"Healthy", "Progressing", "Suspended", "Degraded", "Missing", "Unknown"}, said.Status) {
		return judgement{}, fmt.Errorf("%q is no health status of Argo CD", said.Status)
	}
	return said, nil
}

// newState returns an interpreter with the libraries that Argo CD gives to the scripts of its
// ConfigMap: not that for strings, for example.
func newState(ctx context.Context) (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	state.SetContext(ctx)
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			state.Close()
			return nil, err
		}
	}
	return state, nil
}

// valueOf returns the value in Lua of a value that was decoded from JSON.
func valueOf(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(valueOf(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, valueOf(state, item))
		}
		return table
	}
	return lua.LNil
}
