/* Entry: one sub-command, one function. */
int main(void)
{
    return 2;
}
