# Completion of kpexec for PowerShell.
# In $PROFILE: kpexec completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName kpexec -ScriptBlock {
    param($current, $line, $position)
    $words = @($line.CommandElements | Where-Object { $_.Extent.EndOffset -lt $position } |
        ForEach-Object { $_.Extent.Text })
    $program = $words[0]
    $arguments = @('__complete') + @($words | Select-Object -Skip 1)
    # Windows PowerShell drops an empty argument that is not quoted once more.
    $last = if ($current -eq '' -and $PSVersionTable.PSVersion -lt [version]'7.3') { '""' } else { $current }
    $prefix = if ($current -match '^--[^=]*=') { $Matches[0] } else { '' }
    & $program @arguments $last 2>$null | Where-Object { $_ -and -not $_.StartsWith(':') } | ForEach-Object {
        $value, $about = $_ -split "`t", 2
        if (-not $about) { $about = $value }
        [System.Management.Automation.CompletionResult]::new("$prefix$value", $value, 'ParameterValue', $about)
    }
}
