// Renders conversations as Ollama does with a Modelfile's TEMPLATE: Go's text/template, messages of one role
// joined, the system text beside them.
//
// In: {"template", "conversations": [[{"role", "content"}]], "think": null | bool}. Out: a list of texts.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Thinking  string `json:"thinking"`
	ToolCalls []any  `json:"tool_calls"`
}

type request struct {
	Template      string       `json:"template"`
	Conversations [][]*message `json:"conversations"`
	Think         *bool        `json:"think"`
}

func collate(messages []*message) (string, []*message) {
	var system []string
	var joined []*message
	for _, one := range messages {
		if one.Role == "system" {
			system = append(system, one.Content)
		}
		if len(joined) > 0 && joined[len(joined)-1].Role == one.Role {
			joined[len(joined)-1].Content += "\n\n" + one.Content
		} else {
			joined = append(joined, one)
		}
	}
	return strings.Join(system, "\n\n"), joined
}

func check(err error) {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func main() {
	var asked request
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	parsed, err := template.New("").Option("missingkey=zero").Parse(asked.Template)
	check(err)
	texts := []string{}
	for _, conversation := range asked.Conversations {
		system, messages := collate(conversation)
		var text strings.Builder
		check(parsed.Execute(&text, map[string]any{
			"System":     system,
			"Messages":   messages,
			"Tools":      nil,
			"Response":   "",
			"Think":      asked.Think != nil && *asked.Think,
			"IsThinkSet": asked.Think != nil,
		}))
		texts = append(texts, text.String())
	}
	check(json.NewEncoder(os.Stdout).Encode(texts))
}
